//! `hearth hook SHELL --keep`: makes what is leased to the shell what its note says.
//!
//! Kept true here: one at a time, by a lock, and each goes by the newest note, so whoever comes last finds
//! nothing left to do and an entering that was slow never outlives the leaving. The new lease is taken
//! before the old one is given back: what both hold does not go down in between. Only leases that were
//! taken here are given back, none that somebody took by hand.
//!
//! The prompt comes first: services that start would take the processors from it, and from what it runs to
//! be drawn (git, mostly). So a moment is let pass; who only walks through a project starts nothing.
//!
//! The agent reads the project's files itself. So they are compared with what was trusted right before it
//! is asked and again when it has answered; who changes them in between and is seen has his lease taken
//! away at once. Not seen is who puts back within these few milliseconds what he has changed: he must be
//! able to write the person's own files, or to rename a directory on the way to them, and the ownership of
//! all these was checked.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use hearth_api::{Code, LeaseReply, LeaseRequest, SessionRequest};
use hearth_lifecycle::Request;
use hearth_process::locked::{self, LockedFile};

use super::Shell;
use super::note::{Files, Held, Wanted};
use crate::agent::{self, Wish};
use crate::args::Context;
use crate::refuse::Refusal;
use crate::trust::shown;
use crate::trusted::{self, Standing};
use crate::{capture, cold, restart, session};

/// What a prompt is given until it is drawn; nobody notices it at a service that takes longer to start.
/// Nothing tells when it is drawn, and a lower priority would go on to an agent that is started here.
const PROMPT_FIRST: Duration = Duration::from_millis(25);

/// Says nothing: what goes wrong is for the shell's next prompt.
pub fn run(context: &Context, shell: Shell, pid: u32) -> Result<u8, Refusal> {
    // Neither Ctrl-C nor the end of the terminal is meant for it. Fails where it leads a session already.
    let _ = rustix::process::setsid();
    std::thread::sleep(PROMPT_FIRST);
    let Ok(files) = Files::of(&context.home, pid) else { return Ok(0) };
    let Ok(lock) = locked::open(&files.held(), true).and_then(LockedFile::exclusive) else {
        return Ok(0);
    };
    let mut held = read(lock.file());
    let wanted = files.read().wanted;
    let done = settle(context, shell, pid, wanted.as_ref(), &mut held);
    if let Err(refusal) = &done {
        let _ = files.say(&in_one_line(refusal, wanted.as_ref()));
    }
    let _ = write(lock.file(), &held);
    Ok(done.map_or_else(|refusal| refusal.code.exit(), |()| 0))
}

fn settle(
    context: &Context,
    shell: Shell,
    pid: u32,
    wanted: Option<&Wanted>,
    held: &mut Vec<Held>,
) -> Result<(), Refusal> {
    let taken = wanted.map(|wanted| take(context, shell, pid, wanted, held)).transpose()?;
    let mut left = Vec::new();
    for lease in held.drain(..) {
        let stays = taken.as_ref() == Some(&lease.lease);
        if stays || give_back(context, &lease).is_err() {
            left.push(lease);
        }
    }
    *held = left;
    Ok(())
}

/// The lease by which the shell has what it wants.
fn take(
    context: &Context,
    shell: Shell,
    pid: u32,
    wanted: &Wanted,
    held: &mut Vec<Held>,
) -> Result<String, Refusal> {
    still_trusted(context, wanted)?;
    let wish = Wish { start: true, ..Wish::default() };
    let session = SessionRequest {
        pid: Some(pid.into()),
        kind: Some("shell".to_owned()),
        name: Some(shell.name().to_owned()),
        cwd: None,
    };
    let session = session::register(context, wish, &session)?;
    let same = |it: &&Held| it.project == wanted.project && it.trusted == wanted.trusted;
    let lives = |it: &&Held| session.leases.iter().any(|lease| lease.id == it.lease);
    if let Some(known) = held.iter().filter(same).find(lives) {
        return Ok(known.lease.clone());
    }
    let project = wanted.project.to_string_lossy().into_owned();
    let capture = capture::request(project.clone(), Vec::new());
    let request = LeaseRequest {
        session: session.id,
        project,
        services: Vec::new(),
        env: capture.env,
        umask: capture.umask,
        limits: capture.limits,
    };
    let mut request = capture::post("/v1/leases", &request, &request.env)?.repeatable();
    request.headers.push(("hearth-request", restart::id()));
    let (_, body) = agent::fetch(context, wish, &request)?;
    let lease: LeaseReply = agent::parse(&body)?;
    held.push(Held {
        lease: lease.id.clone(),
        project: wanted.project.clone(),
        trusted: wanted.trusted.clone(),
    });
    if let Err(refusal) = still_trusted(context, wanted) {
        if give_back(context, &held[held.len() - 1]).is_ok() {
            held.pop();
        }
        return Err(refusal);
    }
    Ok(lease.id)
}

fn still_trusted(context: &Context, wanted: &Wanted) -> Result<(), Refusal> {
    context.home.prepare()?;
    let project = hearth_config::load(&wanted.project)?;
    trusted::check(&project)?;
    let is = trusted::standing(&context.home, &wanted.project);
    if project.auto && is == Standing::Trusted(wanted.trusted.clone()) {
        return Ok(());
    }
    let why = format!("{} changed just now", shown(&wanted.project));
    Err(Refusal::new(Code::Forbidden, why).hint("look at it, then `hearth trust`"))
}

/// Where neither an agent nor a shim lives there is nothing to give back.
fn give_back(context: &Context, lease: &Held) -> Result<(), Refusal> {
    let wish = Wish { start: cold::any_shim(context), ..Wish::default() };
    let path = format!("/v1/leases/{}", lease.lease);
    let request = Request { method: "DELETE", path, ..Request::default() }.repeatable();
    match agent::fetch(context, wish, &request) {
        Ok(_) => Ok(()),
        Err(refusal) if matches!(refusal.code, Code::NotFound | Code::Down) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// The shell may have moved on: it says of what it speaks.
fn in_one_line(refusal: &Refusal, wanted: Option<&Wanted>) -> String {
    let project = wanted.map_or_else(String::new, |wanted| format!("{}: ", shown(&wanted.project)));
    let why = refusal.message.lines().next().unwrap_or_default().trim_end_matches(':');
    let hint = match refusal.hint.lines().next() {
        None => String::new(),
        Some(hint) => format!(" ({hint})"),
    };
    let line = format!("{project}{why}{hint}");
    shown(Path::new(&line))
}

fn read(mut file: &File) -> Vec<Held> {
    let mut text = Vec::new();
    let _ = file.read_to_end(&mut text);
    serde_json::from_slice(&text).unwrap_or_default()
}

fn write(mut file: &File, held: &[Held]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(held)?)
}
