//! Every rule of `wit/memory.wit`, as steps that run twice: on the memory logic compiled natively over the exact fakes, and
//! through the real component in wasmtime over the real store, indexes and embedder queue. Each step asserts what it
//! expects; any difference between the two transcripts is a failure as well.
mod component;
mod subject;

use subject::{native, through_component};

/// Runs one scenario on both subjects and compares everything they answered.
macro_rules! scenarios {
    ($($room:ident: $($scenario:ident)*;)*) => {
        $($(
            #[test]
            fn $scenario() {
                let mut fakes = native::Subject::new();
                native::$room::$scenario(&mut fakes);
                let mut component = through_component::Subject::new();
                through_component::$room::$scenario(&mut component);
                subject::compare(&fakes.transcript, &component.transcript);
            }
        )*)*
    };
}

scenarios! {
    adding:
        a_batch_takes_effect_in_order
        items_are_refused_at_their_places
        calls_above_the_limits_change_nothing
        links_lead_to_memories_that_are_there
        the_same_text_is_the_same_memory
        what_differs_is_not_the_same_text
        hidden_memories_do_not_hide_a_repetition
        a_key_stands_for_one_memory
        a_key_is_free_again_after_deletion
        idempotency_keys_repeat_the_answer
        what_comes_later_says_so
        a_failing_model_stores_nothing
        words_are_enough_without_a_model
        deferred_meaning_follows;
    reading:
        get_answers_in_the_order_of_the_targets
        within_hides_what_lies_outside
        lists_in_both_orders
        pages_hold_everything_once
        a_cursor_is_bound_to_its_request
        filters_select
        bad_filters_are_refused_with_their_place
        views_show_what_was_valid
        views_show_what_was_known
        the_reader_brings_the_present
        scopes_count_what_lies_within
        stats_count_states;
    changing:
        patches_change_what_they_name
        a_patch_without_effect_is_unchanged
        metadata_is_merged
        times_are_set_and_cleared
        an_update_needs_the_expected_version
        what_is_deleted_cannot_be_updated
        a_new_text_is_found_by_its_words
        updates_of_all_that_match
        deletes_of_all_that_match
        a_selection_says_what_it_means
        deletion_keeps_the_history
        erasure_leaves_nothing
        histories_are_told_newest_first
        earlier_versions_come_back
        a_taken_key_blocks_the_return
        superseding_closes_the_validity
        what_supersedes_frees_when_it_goes
        expiry_hides_and_purge_erases
        what_the_model_reads_can_be_asked_for
        archives_travel_whole
        archives_that_contradict_are_refused;
    searching:
        a_word_alone_can_win
        meaning_finds_what_shares_words
        scopes_are_walls
        filters_lose_nothing
        paths_beside_the_index_agree
        the_view_rules_a_search
        scores_below_the_minimum_drop_out
        explanations_sum_to_the_score
        actors_and_dates_lift
        ubiquitous_names_are_masked
        long_texts_are_found_by_passages
        recency_prefers_the_new
        duplicates_fold_into_one_hit
        a_suggested_successor_ranks_first
        bad_queries_fail_at_their_place
        what_no_search_offers_says_so;
    understanding:
        an_answer_has_the_words_of_its_question
        without_runs_context_orders_as_core_does
        words_are_searched_without_a_model
        times_are_told_from_the_readers_day
        what_yesterday_was_is_found
        versions_of_then_are_shown
        doubts_are_raised
        hits_are_spread
        why_a_memory_did_not_come_back
        what_no_branch_finds_is_no_candidate
        a_prompt_carries_citations
        a_prompt_stays_within_its_budget
        misspelt_words_find_the_nearest
        strange_queries_have_defined_answers;
    comparing:
        near_duplicates_are_linked_and_folded
        what_only_looks_the_same_is_kept_apart
        corrections_are_suggested
        corrections_supersede_and_can_be_undone
        only_what_is_later_corrects
        a_later_item_sees_an_earlier_one
        words_compare_without_a_model;
}
