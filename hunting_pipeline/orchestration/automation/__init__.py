"""Automation: conditions and sensors that request partitions."""
