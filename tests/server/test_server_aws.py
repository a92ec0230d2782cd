"""The CloudFormation template: cfn-lint finds nothing, and what it promises about rights and doors is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from hpo.server.settings import read
from tests.conftest import ROOT

TEMPLATE = ROOT / "scripts" / "server" / "aws" / "template.yaml"


class _Short(SafeConstructor):
    """CloudFormation's short functions as what they are about."""


def _about(constructor: Any, suffix: str, node: Any) -> Any:
    build = {"sequence": constructor.construct_sequence, "mapping": constructor.construct_mapping}
    return {suffix: build.get(node.id, constructor.construct_scalar)(node)}


_Short.add_multi_constructor("!", _about)


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Short
    return dict(yaml.load(TEMPLATE)["Resources"])


def of_type(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [resource["Properties"] for resource in resources.values() if resource["Type"] == f"AWS::{kind}"]
    assert found, kind
    return found


def test_cfn_lint_finds_nothing() -> None:
    lint = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([lint, "--non-zero-exit-code", "informational", TEMPLATE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_only_the_load_balancer_is_reached(resources: dict[str, Any]) -> None:
    from_anywhere = [
        rule["FromPort"]
        for group in of_type(resources, "EC2::SecurityGroup")
        for rule in group["SecurityGroupIngress"]
        if "SourceSecurityGroupId" not in rule
    ]
    assert from_anywhere == [443]
    (service,) = of_type(resources, "ECS::Service")
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "DISABLED"
    assert network["Subnets"] == [{"Ref": "PrivateA"}, {"Ref": "PrivateB"}]
    (database,) = of_type(resources, "RDS::DBInstance")
    assert (database["PubliclyAccessible"], database["StorageEncrypted"]) == (False, True)
    (bucket,) = of_type(resources, "S3::Bucket")
    assert all(bucket["PublicAccessBlockConfiguration"].values())


def test_secrets_are_made_there_and_given_to_the_task_alone(resources: dict[str, Any]) -> None:
    (task,) = of_type(resources, "ECS::TaskDefinition")
    given = {secret["Name"] for container in task["ContainerDefinitions"] for secret in container.get("Secrets", ())}
    assert given == {"HPO_ADMIN_PASSWORD", "HPO_SECRET_KEY", "HPO_DATABASE_PASSWORD"}
    assert len(of_type(resources, "SecretsManager::Secret")) == 3
    plain = [v["Name"] for container in task["ContainerDefinitions"] for v in container.get("Environment", ())]
    assert not [name for name in plain if re.search("PASSWORD|SECRET|KEY", name)]


def test_a_role_may_do_what_it_needs(resources: dict[str, Any]) -> None:
    statements = [
        statement
        for role in of_type(resources, "IAM::Role")
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    assert len(statements) == 3
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if action.endswith("*")]
        assert statement["Resource"] != "*"


def test_the_flags_are_those_of_the_server(resources: dict[str, Any], tmp_path: Path) -> None:
    (task,) = of_type(resources, "ECS::TaskDefinition")
    server, proxy = task["ContainerDefinitions"]
    values: dict[str, Any] = {}
    for flag in server["Command"]:
        text = flag["Sub"].replace("${HostName}", "mlflow.example.com").replace("${Workers}", "4")
        text = text.replace("${Database.Endpoint.Port}", "5432")
        name, _, value = re.sub(r"\$\{[\w.]+\}", "something", text).removeprefix("--").partition("=")
        values[name] = int(value) if name == "workers" else value
    assert read(None, preset="team", folder=tmp_path, **values).public == "https://mlflow.example.com"
    wanted = set(re.findall(r"\$\{(HPO_\w+)\}", (TEMPLATE.parent.parent / "nginx.conf").read_text()))
    assert wanted == {entry["Name"] for entry in proxy["Environment"] if entry["Name"].startswith("HPO_")}
