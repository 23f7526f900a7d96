"""What Jupyter does with a kernel, as JSON: start it, run cells, interrupt an endless one, shut down.

Run by a person's Python, with jupyter_client beside it: kernel_driver.py KERNEL
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from jupyter_client.manager import KernelManager


def main(name: str) -> dict[str, Any]:
    manager = KernelManager(kernel_name=name)
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(code: str) -> dict[str, Any]:
        said: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])

        reply = client.execute_interactive(code, timeout=60, output_hook=hook)["content"]
        return {"said": "".join(said), "status": reply["status"], "error": reply.get("ename", "")}

    told: dict[str, Any] = {"cell": run("import only_inside, os; print(only_inside.where, os.getcwd())")}
    told["kernel_pid"] = int(run("print(os.getpid())")["said"])
    told["launcher_pid"] = manager.provisioner.process.pid  # type: ignore[union-attr]
    endless = client.execute("import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.1)")
    while True:  # until it has begun
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") == endless and message["msg_type"] == "stream":
            break
    manager.interrupt_kernel()
    while True:
        reply = client.get_shell_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == endless:
            break
    told["interrupted"] = reply["content"].get("ename", reply["content"]["status"])
    told["after"] = run("print(1 + 1)")
    begin = time.monotonic()
    client.stop_channels()
    manager.shutdown_kernel()
    told["shutdown_was_asked"] = time.monotonic() - begin < manager.shutdown_wait_time / 2  # else it was killed
    return told


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])))
