"""Fuzz the RPC of a real node by its own description.

    python -m tests.fuzz.rpc --seconds 600        (make fuzz-rpc; needs schemathesis)

Starts a node in a temporary home, without peers, and has schemathesis send requests that fit the description and
requests that do not, with and without the cookie. A violation is an answer that the description does not allow, a
server error, or a node that is gone afterwards. ``node.stop`` is left out: it does what it says.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from node.client import Client, ClientError
from node.localnet.processes import child_environment, last_lines

OPENRPC: Final = Path(__file__).parents[2] / "node" / "rpc" / "openrpc.json"
BUILD: Final = Path(__file__).parents[2] / "build" / "fuzz"
_LEFT_OUT: Final = ("node.stop",)
_BATCH: Final = {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["jsonrpc", "id"]}}
"""What a list of calls is answered with; the calls may be of any method."""
_ID: Final = {"type": ["number", "string", "null"]}


def make_openapi(openrpc: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document whose one operation a method is the RPC's POST with that method's parameters.

    OpenAPI knows operations by their paths; the paths differ in a query that the node ignores.
    """
    paths = {}
    for method in openrpc["methods"]:
        if method["name"] in _LEFT_OUT:
            continue
        properties = {param["name"]: param["schema"] for param in method["params"]}
        params = {
            "type": "object",
            "properties": properties,
            "required": [param["name"] for param in method["params"] if param.get("required")],
            "additionalProperties": False,
        }
        request = _object(jsonrpc={"const": "2.0"}, id=_ID, method={"const": method["name"]}, params=params)
        good = _object(jsonrpc={"const": "2.0"}, id=_ID, result=method["result"]["schema"])
        bad = _object(jsonrpc={"const": "2.0"}, id=_ID, error={"$ref": "#/components/schemas/RpcFault"})
        answer = {
            "description": "an answer",
            "content": {"application/json": {"schema": {"oneOf": [good, bad, _BATCH]}}},
        }
        refusal = {"description": "refused before it was read"}
        paths[f"/?{method['name']}"] = {
            "post": {
                "operationId": method["name"],
                "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
                "responses": {"200": answer, "204": {"description": "a notification"}, "4XX": refusal},
            }
        }
    fault = _object(code={"type": "integer"}, message={"type": "string"}, data={"type": "object"})
    schemas = openrpc["components"]["schemas"] | {"RpcFault": fault}
    return {
        "openapi": "3.1.0",
        "info": {"title": "fedchain node", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _object(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def _door(home: Path) -> tuple[str, str]:
    """Return the URL and the cookie of the node in a home once it answers."""
    for _ in range(200):
        try:
            async with Client.from_home(home) as client:
                await client.status()
                return client.url, (home / "rpc.cookie").read_text().strip()
        except (ClientError, FileNotFoundError):
            await asyncio.sleep(0.1)
    raise SystemExit(f"the node does not answer: {last_lines(home / 'console.log')}")


def run(seconds: int, examples: int) -> int:
    """Fuzz for so long; return the exit code."""
    BUILD.mkdir(parents=True, exist_ok=True)
    schema = BUILD / "openapi.json"
    schema.write_text(json.dumps(make_openapi(json.loads(OPENRPC.read_text()))))
    with tempfile.TemporaryDirectory(prefix="fuzz-rpc-") as place:
        home = Path(place) / "home"
        fedchain = [sys.executable, "-m", "cli"]
        subprocess.run(
            [
                *fedchain,
                "init",
                "--home",
                str(home),
                "--chain-id",
                "fuzz",
                "--rpc-port",
                "0",
                "--listen",
                "127.0.0.1:0",
            ],
            check=True,
            env=child_environment(),
        )
        with (Path(place) / "console.log").open("wb") as console:
            node = subprocess.Popen(
                [*fedchain, "node", "start", "--home", str(home)],
                stdout=console,
                stderr=console,
                env=child_environment(),
            )
        try:
            url, cookie = asyncio.run(_door(home))
            code = 0
            for header in ("", f"Authorization: Bearer {cookie}"):
                code |= _schemathesis(schema, url, header, seconds // 2, examples)
            if node.poll() is not None:
                print(f"the node is gone: {last_lines(Path(place) / 'console.log')}")
                code = 1
        finally:
            node.terminate()
            ended = node.wait(20)
        if ended:
            print(f"the node ended with code {ended}")
        return code or int(ended != 0)


def _schemathesis(schema: Path, url: str, header: str, seconds: int, examples: int) -> int:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(schema), "--url", url),
        *("--max-time", str(seconds), "--max-examples", str(examples), "--mode", "all", "--no-color"),
        *(
            "--checks",
            "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance",
        ),
        *(["--header", header] if header else []),
    ]
    print(f"schemathesis {'with' if header else 'without'} the cookie, at most {seconds} s", flush=True)
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--examples", type=int, default=200)
    asked = parser.parse_args()
    sys.exit(run(asked.seconds, asked.examples))
