"""The plugin folder joins nnU-Net's variable without disturbing what the user has in it."""

from __future__ import annotations

import os

from nnunetv2_mlbseg.extension_path import PLUGIN_FOLDER, VARIABLE, merged, register


def folders(*names: str) -> str:
    return os.pathsep.join(names)


def test_the_folder_stands_alone_where_the_user_has_none():
    assert merged(None, "/plugin") == "/plugin"
    assert merged("", "/plugin") == "/plugin"


def test_the_users_folders_come_first_and_stay_in_order():
    assert merged(folders("/b", "/a"), "/plugin") == folders("/b", "/a", "/plugin")


def test_a_folder_is_never_entered_twice():
    assert merged(folders("/plugin", "/a"), "/plugin") == folders("/plugin", "/a")
    environ = {VARIABLE: "/a"}
    register(environ)
    register(environ)
    assert environ == {VARIABLE: folders("/a", PLUGIN_FOLDER)}


def test_the_plugin_folder_holds_the_module_that_nnunet_scans():
    assert "mlbseg_trainers.py" in os.listdir(PLUGIN_FOLDER)
