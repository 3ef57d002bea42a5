//! How it stands with a unit, by the manager's own word: what is told of units, whether there can be one or not.

/// Whose the unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// systemd's user manager.
    Systemd,
    /// launchd, in the domain of the graphical session or of the user.
    Launchd,
}

/// How the manager sees the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not know the unit, though its file is there.
    NotLoaded,
    /// It was told never to run it.
    Masked,
    /// Known; nobody listens and nobody runs.
    Inactive,
    /// It listens; the agent comes with the first verb.
    Listening,
    /// The agent is starting, or waits to be started again.
    Starting,
    /// The agent runs.
    Running {
        /// Its pid; 0 where the manager does not say.
        pid: u32,
    },
    /// The agent is ending.
    Stopping,
    /// It has given up.
    Failed,
}

impl Standing {
    /// As it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::NotLoaded => "not-loaded",
            Standing::Masked => "masked",
            Standing::Inactive => "inactive",
            Standing::Listening => "listening",
            Standing::Starting => "starting",
            Standing::Running { .. } => "running",
            Standing::Stopping => "stopping",
            Standing::Failed => "failed",
        }
    }
}

impl Standing {
    /// Whether the agent of this pid is the manager's own, or one of its own is about to come or to go;
    /// `None`: an agent that has not said who it is. One whose pid the manager does not say is taken for it.
    pub fn has(self, agent: Option<u32>) -> bool {
        match self {
            Standing::Running { pid } => pid == 0 || agent.is_none_or(|agent| agent == pid),
            Standing::Starting | Standing::Stopping => true,
            Standing::NotLoaded
            | Standing::Masked
            | Standing::Inactive
            | Standing::Listening
            | Standing::Failed => false,
        }
    }
}

/// What the manager says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In short.
    pub standing: Standing,
    /// In its own words, for people: `failed (Result: exit-code, status=203/EXEC)`.
    pub words: String,
}

/// The manager could not be asked, or did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Refused {
    /// In its own words.
    pub words: String,
    /// What to type next.
    pub remedy: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_the_managers_by_its_pid_where_that_is_told() {
        let runs = Standing::Running { pid: 7 };
        assert!(runs.has(Some(7)) && runs.has(None) && !runs.has(Some(8)));
        assert!(Standing::Running { pid: 0 }.has(Some(8)));
        assert!(Standing::Stopping.has(Some(8)), "the one that goes");
        assert!(!Standing::Listening.has(Some(8)) && !Standing::Failed.has(None));
    }
}
