"""Each trap that was measured when the store was designed, and the tests that keep it from being walked into again."""

from __future__ import annotations

import importlib

import pytest

TRAPS = {
    "a write through a hard link changes the original": ["hostile.test_source_objects_and_other_clones_survive"],
    "root writes through mode 0444": ["hostile.test_source_objects_and_other_clones_survive"],
    "immutable files (chattr +i) cannot be linked": ["odd_trees.test_immutable_and_append_only_files_are_taken_and_cloned"],
    "hard links of the workspace are one file": ["odd_trees.test_hard_links_are_stored_once_and_restored_apart"],
    "copying makes a sparse file whole": [
        "copies.test_sparse_files_stay_sparse",
        "file_systems.test_a_sparse_file_is_sparse_in_the_store_and_in_the_clone",
    ],
    "a second write through a mapping changes no time": [
        "stat_cache.test_further_writes_to_a_page_that_is_dirty_already_are_seen",
        "stat_cache.test_writes_through_a_mapping_are_seen_on_every_file_system",
        "stat_cache.test_a_mapping_that_outlives_the_open_file_is_noticed",
        "stat_cache.test_in_memory_nothing_is_taken_from_the_cache",
    ],
    "the source changes between sharing its blocks and hashing it": [
        "file_systems.test_a_file_that_changes_while_its_blocks_are_shared_is_stored_as_it_was_hashed",
        "moving.test_a_file_that_never_stands_still_is_taken_as_read_and_named",
    ],
    "xfs reserves gigabytes for an appended byte": [
        "file_systems.test_space_that_xfs_reserves_for_a_shared_file_does_not_refuse_the_next_clone"
    ],
    "on an overlay a lower folder cannot be renamed, and a lower file that is edited shows through": [
        "file_systems.test_a_workspace_on_an_overlay_is_cloned_apart_from_what_lies_below"
    ],
    "files of ids that are not mapped": ["moving.test_files_of_others_are_taken_and_their_changes_seen"],
    "blocks cannot be shared across file systems": [
        "file_systems.test_a_clone_on_another_file_system_is_whole",
        "file_systems.test_a_store_on_another_file_system_says_so",
    ],
    "rows as new as the scan (git's racy rule)": [
        "stat_cache.test_rows_as_new_as_the_scan_are_not_trusted",
        "stat_cache.test_a_second_change_within_one_tick_of_the_clock_is_seen",
    ],
    "a time that was put back": ["stat_cache.test_a_change_with_the_old_time_and_size_put_back_is_seen"],
    "a killed first snapshot hashes everything again": ["kills.test_a_killed_first_snapshot_goes_on_where_it_was"],
    "a full disk leaves litter": [
        "damage.test_a_full_disk_leaves_nothing_and_says_so",
        "copies.test_a_disk_that_fills_while_taking_leaves_nothing",
    ],
    "killed at any moment": ["kills.test_killed_at_any_moment"],
    "a crash before the disk has what was written": [
        "damage.test_after_a_crash_what_was_not_flushed_is_checked_before_it_is_trusted",
        "damage.test_after_a_crash_with_the_content_gone_the_snapshot_is_damaged_not_wrong",
    ],
    "what cannot be read becomes a silent hole": ["moving.test_what_cannot_be_read_is_an_error_that_names_it_and_the_way_out"],
    "sockets, named pipes, devices": ["copies.test_sockets_and_pipes_are_skipped_and_listed"],
    "mounts inside of the workspace": [
        "odd_trees.test_a_mount_inside_is_an_error_unless_it_is_left_out",
        "odd_trees.test_a_folder_of_the_same_file_system_mounted_inside_is_found_too",
    ],
    "absolute links lead a clone back into the workspace": [
        "copies.test_links_mean_the_same_in_the_clone",
        "snapshots.test_a_link_of_a_clone_that_is_mounted_at_the_workspace_stays_as_it_is",
    ],
    "links that leave the workspace": ["snapshots.test_what_is_not_as_in_the_workspace_is_said"],
    "names that are no UTF-8, newlines": [
        "copies.test_names_that_are_no_text_work",
        "odd_trees.test_a_clone_is_what_the_workspace_was",
    ],
    "setuid": ["copies.test_setuid_is_not_copied"],
    ".gitignore hides data and models": ["copies.test_kaleignore_is_honoured_and_gitignore_is_not"],
    "virtual environments": [
        "copies.test_virtual_environments_and_conda_prefixes_are_left_out_and_listed",
        "snapshots.test_installing_a_package_into_an_environment_that_is_left_out_shows_in_the_id",
        "odd_trees.test_environments_are_taken_when_asked_for",
    ],
    "two snapshots, a clone and a collection at once": [
        "collecting.test_snapshots_clones_and_collections_at_once",
        "collecting.test_two_processes_that_take_the_same_folder_are_both_right",
    ],
    "files that come, go and grow while they are looked at": [
        "moving.test_files_that_come_and_go_do_no_harm",
        "moving.test_files_replaced_whole_are_taken_whole",
        "moving.test_a_folder_that_becomes_a_file_or_a_link_does_no_harm",
    ],
    "a wrong row in the stat cache": ["stat_cache.test_a_wrong_row_is_caught_by_verify_and_dropped"],
    "paths longer than the system takes": ["odd_trees.test_paths_longer_than_the_system_takes_at_once"],
    "names that differ only in case": ["odd_trees.test_names_that_differ_only_in_case"],
    "media that cannot be written": [
        "odd_trees.test_a_workspace_on_read_only_media",
        "odd_trees.test_a_store_on_read_only_media_can_be_read_and_cloned_from",
    ],
    "what a run needs is collected": [
        "collecting.test_a_lease_keeps_what_it_names_and_what_is_taken_meanwhile",
        "collecting.test_pins_keep_until_they_are_taken_away",
    ],
    "a file that cannot share its blocks": ["file_systems.test_a_file_that_cannot_share_blocks_does_not_keep_the_others_from_it"],
}


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_tests(trap: str) -> None:
    assert TRAPS[trap]
    for name in TRAPS[trap]:
        module, _, function = name.partition(".")
        assert callable(getattr(importlib.import_module(f"tests.volumes.test_{module}"), function))
