"""The servers of object stores, as for the other tests."""

pytest_plugins = ["object_servers.fixtures"]
