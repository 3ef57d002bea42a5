//! `hearth up`: want up, wait until ready; with `--attach`, stay.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use hearth_api::{Code, reply::Services};
use hearth_lifecycle::Request;

use crate::agent::{self, Wish};
use crate::args::{self, Context};
use crate::project::Place;
use crate::refuse::Refusal;
use crate::sheet::Sheet;
use crate::story::Goal;
use crate::stream::{Heard, Wait};
use crate::{attach, capture, lease, project};

/// Its grammar.
pub fn grammar() -> Command {
    Command::new("up")
        .about("Bring services up, in order, and wait until they are ready")
        .args([
            args::services().help("Services and groups; none: all services that are enabled"),
            args::flag("attach", "Show their logs; Ctrl-C takes down what this brought up")
                .conflicts_with("no-wait"),
            args::flag("no-wait", "Return as soon as the agent has taken the request"),
            args::timeout(),
        ])
        .args(lease::options())
}

/// In the refusal of a name that no file has an agent may help, if there is one: it knows what
/// `hearth run` has begun.
const PATIENCE: Duration = Duration::from_millis(300);

/// A faulty file, or a name that is not in it, is refused before an agent is started.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let place = project::required(context)?;
    let names = args::names(matches);
    let file = project::load(&place)?;
    let named = project::expand(&file, &names)
        .map_err(|refusal| loose(context, &place, &names).unwrap_or(refusal))?;
    let (began, timeout) = (Some(Instant::now()), args::timeout_of(matches));
    let wish = Wish { start: true, timeout, began, ..Wish::default() };
    let holder = lease::holder(context, matches, wish)?;
    let mut asked = capture::request(place.id.clone(), named.clone());
    asked.session = holder.as_ref().map(|holder| holder.id.clone());
    let wait = Wait {
        context,
        wish,
        request: capture::up("/v1/up", &asked)?.repeatable(),
        project: Some(place.id),
        named,
        goal: Goal::Ready,
        no_wait: matches.get_flag("no-wait"),
        cold: None,
    };
    let sheet = Sheet::of(&file);
    if matches.get_flag("attach") {
        return attach::run(&wait, sheet, holder.as_ref());
    }
    let mut heard = Heard::new(context, Goal::Ready, sheet);
    let told = wait.told(&mut heard)?;
    if let (Some(holder), Ok(0)) = (&holder, &told.done) {
        heard.progress.say(&lease::words(holder));
    }
    told.end(context)
}

/// The refusal for a name of a service that is in no file: there is nothing to bring it up by.
pub fn loose(context: &Context, place: &Place, names: &[String]) -> Option<Refusal> {
    let request = Request::get(agent::path("/v1/services", &[("project", &place.id)]));
    let rows = agent::peek(context, PATIENCE, &request)?;
    let Services { services } = serde_json::from_slice(&rows).ok()?;
    let file = project::load(place).ok()?;
    let is_loose = |name: &&String| {
        project::expand(&file, std::slice::from_ref(*name)).is_err()
            && services.iter().any(|row| row.name == **name)
    };
    let name = names.iter().find(is_loose)?;
    let path = file.file.display();
    let why =
        format!("`{name}` is not in {path}: `hearth run` began it, or it was taken out since");
    let hint = format!("`hearth status {name}` shows it, `hearth down {name}` ends it");
    Some(Refusal::new(Code::NotFound, why).hint(hint))
}
