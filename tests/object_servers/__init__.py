"""Servers of object stores for tests: SeaweedFS, moto and rclone (S3), Azurite (Azure) and a GCS stand-in.

The fixtures are in `fixtures.py`, and tests/conftest.py loads them. Each kind has one server per test run.
"""

from object_servers.buckets import Bucket
from object_servers.proxy import Answer, Break, Proxy, Request, Rule, answer, watch

__all__ = ["Answer", "Break", "Bucket", "Proxy", "Request", "Rule", "answer", "watch"]
