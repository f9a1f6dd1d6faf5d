"""The policies and lifecycle rules of docs/deploy fit the lake's layout, and no table expires."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from lake_workshop import EVENTS, day
from moto import mock_aws

from hunting_pipeline.lake.layout import (
    LAKE_FILE,
    OWN_FOLDER,
    data_path,
    manifest_folder,
    manifest_path,
    null_time_path,
    staging_folder_of_table,
    staging_path,
)
from hunting_pipeline.limits import PROFILES
from hunting_pipeline.model import HOUR, NULL_TIME, Partition, Window

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
BUCKET, LAKE = "example-bucket", "lake"

HOURLY = Partition(EVENTS.name, Window(day().window.start, day().window.start + HOUR))
KEPT = [
    LAKE_FILE,
    null_time_path(EVENTS.name),
    *(path(partition) for partition in (day(), HOURLY) for path in (data_path, manifest_path)),
    manifest_path(Partition(EVENTS.name, NULL_TIME)),
]
"""Files that hold rows or their proof."""
PASSING = [staging_path(day(), day().window, None), staging_path(HOURLY, None, None), f"{OWN_FOLDER}/probe/1"]
"""Files that the pipeline deletes: staged segments, and objects that test the store."""
LISTED = [EVENTS.name, manifest_folder(EVENTS.name), staging_folder_of_table(EVENTS.name), OWN_FOLDER]
OUTSIDE = ["other/EmailEvents/a.parquet", "lake-of-others/a.parquet", "a.parquet"]


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())  # JSON is YAML


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def keys_allowed(policy: dict[str, Any], action: str, keys: list[str]) -> list[str]:
    """Return the keys for which an S3 policy allows an action on objects."""
    arns = {key: f"arn:aws:s3:::{BUCKET}/{key}" for key in keys}
    resources = [
        resource
        for statement in policy["Statement"]
        if statement["Effect"] == "Allow" and action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    return [key for key, arn in arns.items() if any(fnmatchcase(arn, resource) for resource in resources)]


def in_lake(paths: list[str]) -> list[str]:
    return [f"{LAKE}/{path}" for path in paths]


@pytest.mark.parametrize(
    ("name", "read", "written", "deleted"),
    [
        ("pipeline.json", KEPT + PASSING, KEPT + PASSING, PASSING),
        ("readers.json", KEPT + PASSING, [], []),
    ],
)
def test_the_policies_of_s3_allow_what_the_layout_needs_and_no_more(
    name: str, read: list[str], written: list[str], deleted: list[str]
) -> None:
    policy = loaded(f"s3/{name}")
    everything = in_lake(KEPT + PASSING) + OUTSIDE
    assert keys_allowed(policy, "s3:GetObject", everything) == in_lake(read)
    assert keys_allowed(policy, "s3:PutObject", everything) == in_lake(written)
    assert keys_allowed(policy, "s3:DeleteObject", everything) == in_lake(deleted)
    actions = {action for statement in policy["Statement"] for action in listed(statement["Action"])}
    used = {"GetObject": read, "PutObject": written, "DeleteObject": deleted, "ListBucket": LISTED}
    assert actions == {f"s3:{action}" for action, paths in used.items() if paths}


@pytest.mark.parametrize("name", ["pipeline.json", "readers.json"])
def test_the_policies_of_s3_list_the_lake_only(name: str) -> None:
    (statement,) = [one for one in loaded(f"s3/{name}")["Statement"] if one["Action"] == "s3:ListBucket"]
    assert statement["Resource"] == f"arn:aws:s3:::{BUCKET}"
    prefixes = statement["Condition"]["StringLike"]["s3:prefix"]
    asked = [LAKE, f"{LAKE}/", *(f"{path}/" for path in in_lake(LISTED)), *OUTSIDE, ""]
    allowed = [prefix for prefix in asked if any(fnmatchcase(prefix, pattern) for pattern in prefixes)]
    assert allowed == asked[: len(LISTED) + 2]


@mock_aws
def test_aws_accepts_the_policies_and_the_lifecycle() -> None:
    """boto3 checks names and types of the rules, and moto the grammar of the policies."""
    iam = boto3.client("iam", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    for name in ("pipeline", "readers"):
        text = (DEPLOY / "s3" / f"{name}.json").read_text()
        assert iam.create_policy(PolicyName=name, PolicyDocument=text)["Policy"]["PolicyName"] == name
    s3 = boto3.client("s3", "us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    s3.create_bucket(Bucket=BUCKET)
    rules = loaded("s3/lifecycle.json")
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=rules)
    assert len(s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]) == len(rules["Rules"])


def expiring() -> dict[str, list[tuple[str, int]]]:
    """Return the prefixes and days of the rules that delete present objects, by cloud."""
    s3 = [
        (rule["Filter"]["Prefix"], rule["Expiration"]["Days"])
        for rule in loaded("s3/lifecycle.json")["Rules"]
        if "Days" in rule.get("Expiration", {})
    ]
    azure = [
        (prefix.partition("/")[2], rule["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"])
        for one in loaded("azure/lifecycle.json")["rules"]
        if "baseBlob" in (rule := one["definition"])["actions"]
        for prefix in rule["filters"]["prefixMatch"]
    ]
    gcs = [
        (prefix, rule["condition"]["age"])
        for rule in loaded("gcs/lifecycle.json")["lifecycle"]["rule"]
        if rule["action"]["type"] == "Delete" and "daysSinceNoncurrentTime" not in rule["condition"]
        for prefix in rule["condition"]["matchesPrefix"]
    ]
    return {"s3": s3, "azure": azure, "gcs": gcs}


@pytest.mark.parametrize("cloud", ["s3", "azure", "gcs"])
def test_only_staged_segments_and_probes_expire_and_only_after_the_retention(cloud: str) -> None:
    rules = expiring()[cloud]
    gone = [path for path in in_lake(KEPT + PASSING) if any(path.startswith(prefix) for prefix, _ in rules)]
    assert gone == in_lake(PASSING)
    retention = max(profile.retention_days for profile in PROFILES.values())
    assert all(days > retention for _, days in rules)


@pytest.mark.parametrize(
    ("cloud", "rules"), [("s3", ["Rules"]), ("azure", ["rules"]), ("gcs", ["lifecycle", "rule"])]
)
def test_each_rule_of_a_lifecycle_has_prefixes_in_the_lake(cloud: str, rules: list[str]) -> None:
    found = loaded(f"{cloud}/lifecycle.json")
    for name in rules:
        found = found[name]
    for rule in found:
        prefixes = [prefix.removeprefix("example-container/") for prefix in prefixes_in(rule)]
        assert prefixes
        assert all(prefix.startswith(f"{LAKE}/") for prefix in prefixes)


def prefixes_in(value: Any) -> Iterator[str]:
    """Yield the prefixes of a rule."""
    for key, one in value.items() if isinstance(value, dict) else ():
        if key in ("Prefix", "prefixMatch", "matchesPrefix"):
            yield from listed(one)
        else:
            yield from prefixes_in(one)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pipeline", {"contributor": "container"}),
        ("readers", {"reader": "container"}),
    ],
)
def test_the_roles_of_azure_have_the_smallest_scope(name: str, expected: dict[str, str]) -> None:
    template = loaded(f"azure/{name}.json")
    scopes = {}
    for resource in template["resources"]:
        (role,) = [
            one for one in ("contributor", "reader")
            if f"variables('{one}')" in resource["properties"]["roleDefinitionId"]
        ]  # fmt: skip
        scope = resource["scope"].removeprefix("[variables('").removesuffix("Id')]")
        assert f"guid(variables('{scope}Id')" in resource["name"]
        assert f"variables('{role}')" in resource["name"]
        scopes[role] = scope
    assert scopes == expected
    declared = template["variables"]
    assert set(declared) == {f"{scope}Id" for scope in scopes.values()} | set(scopes)
    assert declared["containerId"].startswith("[resourceId('Microsoft.Storage/storageAccounts/blobServices/")


def test_the_condition_of_gcs_covers_the_lake() -> None:
    condition = loaded("gcs/condition.yaml")
    assert condition["expression"] == (
        f'resource.name.startsWith("projects/_/buckets/{BUCKET}/objects/{LAKE}/") || '
        f'api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("{LAKE}/")'
    )


def test_the_pods_of_the_chart_use_the_lake_of_the_policies() -> None:
    (deployment,) = loaded("values.yaml")["dagster-user-deployments"]["deployments"]
    assert deployment["env"]["HUNTING_LAKE"] == f"s3://{BUCKET}/{LAKE}"
