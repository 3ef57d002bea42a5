//! What hearth does about a service: how long it waits, when it starts it anew, how it ends it, and
//! how much of its output it keeps.

use super::{Field, Fields, Found, value};
use crate::project::{Backoff, GiveUp, Log, Restart, Scope, Service, Stop};
use crate::signal;

/// All of them; a check has none.
pub(super) fn read(fields: &mut Fields<'_, '_>, service: &mut Service, found: &mut Found) {
    if let Some(field) = fields.get("start_timeout") {
        service.start_timeout = value::positive(&field, found);
    }
    let restarts = [
        ("always", Restart::Always),
        ("on-failure", Restart::OnFailure),
        ("never", Restart::Never),
    ];
    if let Some(field) = fields.get("restart") {
        let restart = value::one_of(&field, &restarts, found);
        service.restart = restart.unwrap_or(service.restart);
    }
    if let Some(field) = fields.get("backoff") {
        backoff(&field, &mut service.backoff, found);
    }
    if let Some(field) = fields.get("give_up") {
        give_up(&field, &mut service.give_up, found);
    }
    if let Some(field) = fields.get("stop") {
        stop(&field, &mut service.stop, found);
    }
    if let Some(field) = fields.get("linger") {
        service.linger = value::duration(&field, found).unwrap_or(service.linger);
    }
    if let Some(field) = fields.get("log") {
        log(&field, &mut service.log, found);
    }
}

fn backoff(field: &Field<'_, '_>, backoff: &mut Backoff, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `backoff`");
    let mut set = |key, to: &mut _, found: &mut Found| {
        *to = fields.get(key).and_then(|field| value::duration(&field, found)).unwrap_or(*to);
    };
    set("min", &mut backoff.min, found);
    set("max", &mut backoff.max, found);
    set("reset_after", &mut backoff.reset_after, found);
    fields.finish(found);
    if backoff.min > backoff.max {
        let format = crate::duration::format;
        let (min, max) = (format(backoff.min), format(backoff.max));
        let message = format!("`min` of `backoff` is {min}, more than `max`, {max}");
        found.fault(field.key_span.clone(), message, "`min` at most `max` (default: 30s)");
    }
}

fn give_up(field: &Field<'_, '_>, give_up: &mut GiveUp, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `give_up`");
    if let Some(field) = fields.get("failures") {
        give_up.failures = value::limit(&field, found).unwrap_or(give_up.failures);
    }
    if let Some(field) = fields.get("within") {
        give_up.within = value::positive(&field, found).unwrap_or(give_up.within);
    }
    fields.finish(found);
}

fn stop(field: &Field<'_, '_>, stop: &mut Stop, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `stop`");
    if let Some(field) = fields.get("signal")
        && let Some(name) = value::string(&field, "the name of a signal: \"SIGTERM\"", found)
        && let Some(signal) = found.check(field.span(), signal::parse(name))
    {
        stop.signal = signal;
    }
    if let Some(field) = fields.get("timeout") {
        stop.timeout = value::duration(&field, found).unwrap_or(stop.timeout);
    }
    let scopes = [("leader", Scope::Leader), ("group", Scope::Group), ("tree", Scope::Tree)];
    if let Some(field) = fields.get("to") {
        stop.to = value::one_of(&field, &scopes, found).unwrap_or(stop.to);
    }
    fields.finish(found);
}

fn log(field: &Field<'_, '_>, log: &mut Log, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `log`");
    if let Some(field) = fields.get("max_size") {
        let size = value::size(&field, found).unwrap_or(log.max_size);
        if size < Log::MIN_SIZE {
            found.fault(field.span(), "`max_size` is too small", "a size from `1KB`");
        }
        log.max_size = size;
    }
    if let Some(field) = fields.get("keep") {
        log.keep = value::count(&field, found).unwrap_or(log.keep);
    }
    fields.finish(found);
}
