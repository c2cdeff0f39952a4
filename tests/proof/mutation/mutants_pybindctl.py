# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults put into pybindctl by hand: in the checks that keep root from acting for a user."""

from mutants import Mutant

_GRANT = "tests/admin/test_grant.py::"
_REFUSED = "tests/admin/test_grant_refused.py::"
_INPUT = "tests/admin/test_hostile_input.py::"
_WRITING = "tests/admin/test_writing.py::"

MUTANTS = [
    # Who owns and who can write what root is about to change or to believe.
    Mutant(
        "trust.py",
        "return status.st_uid != 0 or bool(status.st_mode & _ANY_OTHER)",
        "return bool(status.st_mode & _ANY_OTHER)",
        _INPUT + "test_what_is_roots_alone",
    ),
    Mutant(
        "trust.py",
        "stat.S_IWGRP | stat.S_IWOTH",
        "stat.S_IWOTH",
        _WRITING + "test_nothing_is_written_below_an_unsafe_folder",
    ),
    Mutant(
        "trust.py",
        "or status.st_mode & stat.S_ISVTX:",
        "or stat.S_ISDIR(status.st_mode):",
        _INPUT + "test_what_is_roots_alone",
    ),
    Mutant(
        "trust.py",
        "return end if others_can_write(os.stat(end)) else None",
        "return None",
        _INPUT + "test_what_is_roots_alone",
    ),
    Mutant(
        "trust.py",
        '        left = [*target.split("/"), *left]\n',
        "",
        _INPUT + "test_a_link_through_a_users_folder_is_not_roots",
    ),
    Mutant(
        "permissions/changing/writing.py",
        "    _refuse_unsafe_folders()\n    with as_failure",
        "    with as_failure",
        _WRITING + "test_nothing_is_written_below_an_unsafe_folder",
    ),
    Mutant(
        "permissions/changing/editing.py",
        "        if owned_by(placed.access, who):\n            raise",
        "        if False:\n            raise",
        _REFUSED + "test_user_owned_flag",
    ),
    Mutant(
        "permissions/reading.py",
        "    if others_can_write(status):",
        "    if False:",
        "tests/admin/test_permissions.py::test_unsafe_and_broken_files_are_refused",
    ),
    # Links, and second names, in the place of files.
    Mutant(
        "permissions/access.py",
        "os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC",
        "os.O_PATH | os.O_CLOEXEC",
        _INPUT + "test_a_link_in_place_of_a_flag_file_is_not_followed",
    ),
    Mutant(
        "permissions/access.py",
        " or status.st_nlink > 1",
        "",
        _WRITING + "test_what_a_member_left_behind",
    ),
    Mutant(
        "permissions/reading.py",
        "os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK",
        "os.O_RDONLY | os.O_NONBLOCK",
        "tests/admin/test_permissions.py::test_unsafe_and_broken_files_are_refused",
    ),
    Mutant(
        "admin/importers/rehearsal.py",
        "os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)",
        "os.open(path, os.O_PATH | os.O_CLOEXEC)",
        "tests/admin/test_import_trial.py::test_links_stay_links",
    ),
    Mutant(
        "admin/importers/rehearsal.py",
        'shutil.copyfile(f"/proc/self/fd/{fd}", target)',
        "shutil.copyfile(path, target)",
        _INPUT + "test_a_file_that_becomes_a_link_is_not_followed",
    ),
    # Whole or not at all, and as planned.
    Mutant(
        "permissions/changing/writing.py",
        "            _undo(undo)\n",
        "",
        "tests/admin/test_writing.py::test_at_each_call",
    ),
    Mutant(
        "permissions/changing/writing.py",
        "            give_access(file.fileno(), from_mode(0o644))\n",
        "            pass\n",
        _GRANT + "test_a_user_a_group_and_everyone",
    ),
    Mutant(
        "permissions/access.py",
        "        _remove_list(fd)\n        os.fchmod(fd, access.mode)\n    _check_kept",
        "        os.fchmod(fd, access.mode)\n    _check_kept",
        _WRITING + "test_a_new_file_has_no_list_of_its_folder",
    ),
    Mutant(
        "permissions/access.py",
        "access.effective()  # a wider mask must not give others what the old one withheld",
        "access._found()",
        _GRANT + "test_entry_opens_nothing_else",
    ),
    # What is asked before, and of whom.
    Mutant(
        "admin/commands/grant.py",
        "        if not yes:\n            _confirm(whom, rules)\n",
        "        pass\n",
        _REFUSED + "test_confirmation",
    ),
    Mutant(
        "permissions/changing/writing.py",
        "    if os.geteuid() != 0:",
        "    if False:",
        _REFUSED + "test_not_root",
    ),
    Mutant(
        "admin/asking/ask.py",
        "            _leave_the_terminal()\n",
        "",
        "tests/admin/test_accounts.py::test_a_child_is_away_from_roots_terminal",
    ),
    Mutant(
        "admin/asking/ask.py",
        "    os.setgroups(identity.groups)\n",
        "",
        "tests/admin/test_accounts.py::test_ask_as_is_the_user",
    ),
    Mutant(
        "admin/importers/rehearsal.py",
        "0o711",
        "0o755",
        "tests/admin/test_import_trial.py::test_the_copied_helper_cannot_be_traced",
    ),
    # What users name: words to type, words to read, words that become rules.
    Mutant(
        "repairs.py",
        'return " && ".join("sudo " + shlex.join(command) for command in commands)',
        'return " && ".join("sudo " + " ".join(command) for command in commands)',
        _INPUT + "test_a_printed_name_is_one_word",
    ),
    Mutant(
        "repairs.py",
        'name == "everyone" or name.isdecimal()',
        "name.isdecimal()",
        "tests/admin/test_accounts.py::test_accounts_with_the_names_of_words",
    ),
    Mutant(
        "repairs.py",
        'sudo(("install", "-m", "0644", path, path + ".new"), ("mv", path + ".new", path))',
        'sudo(("chown", "root:root", path), ("chmod", "0644", path))',
        _INPUT + "test_a_kept_descriptor_writes_no_rule",
    ),
    Mutant(
        "admin/output.py",
        "    parts = _PAINTED.split(text)\n",
        "    return text\n    parts = _PAINTED.split(text)\n",
        _INPUT + "test_only_our_colours_reach_the_terminal",
    ),
    Mutant(
        "admin/importers/authbind.py",
        'f"# from {printable(path)}"',
        'f"# from {path}"',
        _INPUT + "test_the_name_of_a_folder_is_no_rule",
    ),
    Mutant(
        "admin/importers/authbind.py",
        "    if changeable(path) is not None:\n        return False\n    real",
        "    return True\n    real",
        _INPUT + "test_what_only_root_may_read_is_copied_nowhere",
    ),
    Mutant(
        "permissions/names.py",
        'or (match[2] is None) != (folder == "byport")',
        "",
        "tests/admin/test_permissions.py::test_names",
    ),
    Mutant(
        "admin/commands/log.py",
        '"--identifier=pybindd", "_UID=0",',
        '"--identifier=pybindd",',
        "tests/admin/test_log.py",
    ),
    Mutant(
        "admin/completion.py",
        "file | folder | program) compopt -o filenames 2>/dev/null ;; esac",
        "nothing) ;; esac",
        "tests/admin/test_completion.py::test_the_name_of_a_file_is_one_word",
    ),
    # What has no end, or is not what it seems.
    Mutant(
        "admin/commands/apply.py",
        "except (ValueError, RecursionError) as error:",
        "except toml.TOMLDecodeError as error:",
        _INPUT + "test_toml_that_breaks_readers",
    ),
    Mutant(
        "mountinfo.py",
        'before.split(b" ")[:6]',
        "before.split()[:6]",
        "tests/command/test_refused_files.py::test_what_a_user_mounts_hides_nothing",
    ),
    Mutant(
        "admin/commands/doctor.py",
        "    if not trusted:\n        _refuse_a_stranger()\n",
        "",
        "tests/admin/test_doctor_installation.py::test_helper_of_a_stranger",
    ),
    Mutant(
        "admin/commands/doctor.py",
        "        _refuse_another_program()\n        os.setxattr",
        "        os.setxattr",
        "tests/admin/test_setup.py::test_another_program_gets_no_capability",
    ),
]
