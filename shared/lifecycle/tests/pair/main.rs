//! The pair from outside: the example's real processes, in homes of their own.
//!
//! | race | test |
//! |---|---|
//! | N verbs start N agents | `many_verbs_at_one_instant_start_one_agent` |
//! | a slow agent's socket is deleted by a client that timed out | `a_silent_agent_keeps_its_socket_and_heals` |
//! | bound but not yet listening reads as dead | `the_socket_appears_bound_and_listening_at_once` |
//! | a dying agent deletes its successor's socket | `a_stopping_agent_leaves_a_socket_that_is_not_its_own` |
//! | "stopped" is not yet "exited" | `stopped_means_that_the_lock_is_free` |
//! | a recycled pid looks like the agent | `a_living_pid_in_a_free_lock_is_no_agent` |
//! | a zombie looks like an agent | `a_zombie_is_no_agent` |
//! | a child that inherits pipes hangs the caller | `a_command_substitution_returns_although_the_agent_lives_on` |
//! | fd 0 closed at start, the socket becomes stdin | `a_caller_with_closed_descriptors_gets_a_sound_agent` |
//! | crash loop storms | `a_crash_at_the_start_is_told_and_then_suppressed_and_healed` |
//! | socket path too long | `a_socket_path_too_long_falls_back_to_a_short_one` |
//! | sudo leaves root-owned files in the user's home | `a_home_that_is_not_ours_alone_is_blocked` |
//! | idle exit drops a queued client | `an_idle_agent_goes_and_no_client_is_lost_by_it` |
//! | a successor fails, hangs or dies in the middle | `replacement` |
//! | who needs the agent ends, or the agent does | `sessions` |
//! | the manager listens, not the agent | `given` |
//! | the socket unit replaces a living agent's socket | `an_agent_at_whose_path_a_manager_begins_to_listen_steps_down_for_the_managers` |
//! | callers whose `XDG_RUNTIME_DIR` is another, or none; versions and executables that differ | `embedding` |
//! | everything at once | `whoever_is_killed_whenever_every_other_verb_gets_the_one_agent` |
//!
//! A service that runs hearth and becomes the agent's ancestor is in the black-box tests of the
//! whole, since there are no services here.

mod embedding;
mod given;
mod races;
mod replacement;
mod sessions;
mod simulation;
mod support;
