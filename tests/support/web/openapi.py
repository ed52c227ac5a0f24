"""Runs schemathesis against a worker: random requests that its OpenAPI document allows, and ones that it does not."""

import asyncio
import sys
from pathlib import Path

CONFIG = Path(__file__).parent / "schemathesis.toml"


async def schemathesis(url: str, token: str | None, pool: str | None, directory: Path) -> tuple[int, str]:
    """Its exit code, and what it prints."""
    config = directory / "schemathesis.toml"
    config.write_text((f'[parameters]\n"path.id" = "{pool}"\n' if pool else "") + CONFIG.read_text())
    authorized = ["--header", f"Authorization: Bearer {token}"] if token else []
    run = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", f"{url}/openapi.json"),
        *("--exclude-path", "/stream"),  # an answer without an end
        *("--max-examples", "40", "--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
        *("--seed", "1", "--generation-database", "none", "--no-color", *authorized),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
    )
    output, _ = await run.communicate()
    return await run.wait(), output.decode()
