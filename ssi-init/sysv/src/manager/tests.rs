// SPDX-License-Identifier: GPL-2.0-or-later
//! The client against a manager made for the purpose, at the other end of a pair of sockets.

use super::*;
use zbus::fdo;
use zbus::object_server::SignalEmitter;

const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/foo_2eservice";
const OWN_JOB: &str = "/org/freedesktop/systemd1/job/7";

/// More than any queue that nobody has made larger.
const NOISE: u32 = 500;

struct Played;

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Played {
    fn subscribe(&self) {}

    /// Everything happens before the answer: the jobs of a boot, and the end of the very job.
    async fn start_unit(
        &self,
        unit: &str,
        mode: &str,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        let result = match (unit, mode) {
            ("foo.service", "replace") => "done",
            ("idle.service", "replace") => "skipped",
            ("broken.service", "replace") => "failed",
            _ => return Err(fdo::Error::FileNotFound(format!("no unit {unit} for {mode}"))),
        };
        let path = |text: &str| OwnedObjectPath::try_from(text).expect("a path");
        for number in 100..100 + NOISE {
            let other = path(&format!("/org/freedesktop/systemd1/job/{number}"));
            Self::job_removed(&emitter, number, other, "other.service", "failed").await?;
            Self::unit_new(&emitter, "other.service", path(UNIT_PATH)).await?;
        }
        Self::job_removed(&emitter, 7, path(OWN_JOB), unit, result).await?;
        Ok(path(OWN_JOB))
    }

    /// Ends the connection in the place of an answer, as a manager that executes itself does.
    async fn reexecute(&self, #[zbus(connection)] connection: &Connection) -> fdo::Result<()> {
        Ok(connection.clone().close().await?)
    }

    fn reload(&self) -> fdo::Result<()> {
        Err(fdo::Error::AccessDenied("not now".to_owned()))
    }

    fn load_unit(&self, unit: &str) -> fdo::Result<OwnedObjectPath> {
        match unit {
            "foo.service" => Ok(OwnedObjectPath::try_from(UNIT_PATH).expect("a path")),
            _ => Err(fdo::Error::InvalidArgs(format!("{unit} is no name"))),
        }
    }

    #[zbus(property)]
    fn system_state(&self) -> &str {
        "running"
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        number: u32,
        job: OwnedObjectPath,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn unit_new(emitter: &SignalEmitter<'_>, unit: &str, path: OwnedObjectPath) -> zbus::Result<()>;
}

struct PlayedUnit;

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl PlayedUnit {
    #[zbus(property)]
    fn description(&self) -> &str {
        "The service"
    }
    #[zbus(property)]
    fn load_state(&self) -> &str {
        "loaded"
    }
    #[zbus(property)]
    fn active_state(&self) -> &str {
        "active"
    }
    #[zbus(property)]
    fn sub_state(&self) -> &str {
        "running"
    }
    #[zbus(property)]
    fn can_reload(&self) -> bool {
        true
    }
    #[zbus(property)]
    fn triggered_by(&self) -> Vec<String> {
        vec!["foo.socket".to_owned()]
    }
}

async fn play(stream: UnixStream) -> zbus::Result<()> {
    let connection = zbus::connection::Builder::unix_stream(stream)
        .server(zbus::Guid::generate())?
        .p2p()
        .serve_at(PATH, Played)?
        .serve_at(UNIT_PATH, PlayedUnit)?
        .build()
        .await?;
    let mut messages = MessageStream::from(&connection);
    while messages.next().await.is_some_and(|message| message.is_ok()) {}
    Ok(())
}

/// A client whose manager is played until the client is gone.
fn manager() -> Manager {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).expect("a socket that does not block");
    }
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { play(UnixStream::from_std(theirs).expect("a socket")).await }).expect("a play");
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let connection = runtime
        .block_on(async { timeout(Duration::from_secs(20), over(UnixStream::from_std(ours)?)).await.expect("in time") })
        .expect("a connection");
    Manager { runtime, connection, on_bus: false }
}

#[test]
fn a_job_that_ends_before_its_answer_behind_hundreds_of_others() {
    let manager = manager();
    manager.run(Verb::Start, "foo.service", "replace").expect("done");
    manager.run(Verb::Start, "idle.service", "replace").expect("nothing to do is done too");
    let failed = manager.run(Verb::Start, "broken.service", "replace").expect_err("a job that fails");
    assert!(matches!(&failed, ManagerError::Job { unit, result } if unit == "broken.service" && result == "failed"));
    let refused = manager.run(Verb::Start, "none.service", "replace").expect_err("no such unit");
    assert!(refused.to_string().contains("refused StartUnit: no unit none.service"), "{refused}");
}

#[test]
fn a_unit_is_described() {
    let manager = manager();
    let state = manager.state("foo.service").expect("a unit");
    let expected = UnitState {
        description: "The service".to_owned(),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        can_reload: true,
        triggered_by: vec!["foo.socket".to_owned()],
    };
    assert_eq!(state, expected);
    assert_eq!(manager.system_state().expect("a state"), "running");
    assert!(matches!(manager.state("no name"), Err(ManagerError::Refused { .. })));
    let wrong = manager.property::<u32>(PATH, MANAGER, "SystemState").expect_err("a text is no number");
    assert!(wrong.to_string().contains("of the type \"s\""), "{wrong}");
}

#[test]
fn a_manager_that_goes_to_come_back_has_done_it() {
    let manager = manager();
    assert!(matches!(manager.reload(), Err(ManagerError::Refused { answer, .. }) if answer == "not now"));
    manager.reexecute().expect("gone is done");
}

#[test]
fn silence_is_not_taken_for_an_answer() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let waited =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
            ours.set_nonblocking(true)?;
            within(Duration::from_millis(50), over(UnixStream::from_std(ours)?)).await.map_err(std::io::Error::other)
        });
    assert!(waited.expect_err("nobody answers").to_string().starts_with("no answer in "));
    drop(theirs);
}
