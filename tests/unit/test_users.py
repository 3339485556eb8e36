"""F6: rooms of different nodes are different users of the host."""

import os

from wgpy.node.users import ROOMS, Users


def test_no_two_nodes_share_a_user(tmp_path):
    held = [Users(name, tmp_path) for name in ("a", "b", "a")]
    uids = [uid for users in held for uid in users.uid.values()]
    assert len(set(uids)) == 9 and min(uids) > 0x7FFF_FFFF // 2, "and none that a distribution gives out"
    assert all(set(users.uid) == set(ROOMS) for users in held)
    first = held[0].uid
    held[0].close()
    other = Users("a", tmp_path)
    held[0].close()  # once more; the number of its descriptor is another's now
    os.fstat(other._fd)
    other.close()
    assert Users("a", tmp_path).uid == first, "the same again when it is free"


def test_a_room_is_told_its_user(tmp_path):
    users = Users("a", tmp_path)
    assert users.as_user("red", lambda: ({"x": 1}, {"fd": 7}))() == ({"x": 1, "uid": users.uid["red"]}, {"fd": 7})
