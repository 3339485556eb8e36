"""Whose a connection is: the kernel's word, and what a message says of it (I1)."""

import json
import os
import socket

import pytest

from wgpy.admin.gate import Who
from wgpy.errors import WgpyError


def test_credentials_of_a_real_connection(tmp_path):
    listener, near = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    near.connect(str(tmp_path / "s"))
    far, _ = listener.accept()
    who = Who.of(far)
    assert (who.uid, who.gid, who.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert set(who.groups) == set(os.getgroups())
    assert Who.parse(json.loads(json.dumps(who.as_message()))) == who
    for s in (listener, near, far):
        s.close()


@pytest.mark.parametrize("value", [None, {}, [], {"uid": "0", "gid": 0, "pid": 0, "groups": []},
                                   {"uid": 0, "gid": 0, "pid": 1}, {"uid": True, "gid": 0, "pid": 1, "groups": []},
                                   {"uid": -1, "gid": 0, "pid": 1, "groups": []}])
def test_credentials_that_are_none(value):
    with pytest.raises(WgpyError):
        Who.parse(value)
