import subprocess
import sys

from tests.support.files import ROOT


def test_nested_json_does_not_end_a_process_that_uses_web3() -> None:
    program = """
import msgspec
import streams.node.client
for text in ("[" * 1_000_000, '{"a":' * 1_000_000):
    try:
        msgspec.json.decode(text)
    except RecursionError:
        print("refused")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "refused\nrefused\n")
