"""The check for leaks finds each kind of them, and nothing in a test that cleans up."""

import asyncio
import socket
import subprocess
import sys
import threading

from tests.support.leaks import Resources, leaks_since, pending_tasks


def test_nothing_is_left_by_a_test_that_cleans_up() -> None:
    """A process, a thread and a socket that have ended are not reported."""
    before = Resources.now()
    with socket.create_server(("127.0.0.1", 0)):
        subprocess.run([sys.executable, "-c", ""], check=True)
        thread = threading.Thread(target=str)
        thread.start()
        thread.join()
    assert leaks_since(before, timeout_s=0) == []


def test_an_open_socket_is_reported_with_its_address() -> None:
    """Whoever holds it."""
    before = Resources.now()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (leak,) = leaks_since(before, timeout_s=0)
        assert leak == f"socket AF_INET from {server.getsockname()} to nothing"


def test_a_child_process_is_reported_until_it_was_waited_for() -> None:
    """With its command line while it lives."""
    before = Resources.now()
    with subprocess.Popen(["sleep", "600"]) as child:
        (leak,) = leaks_since(before, timeout_s=0)
        assert leak.startswith(f"child process {child.pid}: ")
        child.kill()
    assert leaks_since(before, timeout_s=0) == []


def test_a_thread_is_reported_by_its_name() -> None:
    """As long as it runs."""
    before = Resources.now()
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="still running")
    thread.start()
    left = leaks_since(before, timeout_s=0)
    end.set()
    assert left == ["thread still running"]
    assert leaks_since(before) == []


def test_a_task_that_has_not_ended_is_reported_by_its_name() -> None:
    """Although its loop has stopped."""
    loop = asyncio.new_event_loop()
    forever = asyncio.Event()
    task = loop.create_task(forever.wait(), name="endless")
    loop.call_soon(loop.stop)
    loop.run_forever()
    (leak,) = pending_tasks(loop)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    assert "endless" in leak
    assert pending_tasks(loop) == []
