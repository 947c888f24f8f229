// SPDX-License-Identifier: GPL-2.0-or-later
//! The manager on a bus of the distribution's dbus-daemon: who may do what, who is told, and services that the bus wants
//! started.

mod scene;

use std::time::Duration;

use scene::Scene;

const A: (&str, &str) = ("a.service", "[Service]\nExecStart=/bin/sleep 1000\n");
const ONE_SHOT: (&str, &str) = ("once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
const DBUS: (&str, &str) = ("dbus.service", "[Service]\nExecStart=/bin/sleep 1000\n");
const SOCKET: (&str, &str) = ("dbus.socket", "[Socket]\nListenStream=/run/dbus/x\n");
const ME: [&str; 3] = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn systemctl_waits_over_the_bus() {
    let mut scene = Scene::new(&[A, ONE_SHOT]);
    scene.with_system_bus("");
    scene.systemctl(&["start", "--wait", "once.service"]);
    let mut waiting = scene.begin(&["start", "--wait", "a.service"]);
    scene.until("the start", || scene.unit("a.service") == "active (running)");
    std::thread::sleep(Duration::from_millis(300));
    assert!(waiting.try_wait().unwrap().is_none(), "it waits for the end of the unit");
    scene.systemctl(&["stop", "a.service"]);
    assert!(waiting.wait().unwrap().success());
    // The client held the unit, and is gone.
    scene.until("the unit forgotten", || scene.unit("a.service") == "not there");
}

#[test]
fn others_than_root_may_look_and_no_more() {
    let mut scene = Scene::new(&[A]);
    scene.with_system_bus("");
    let as_nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups busctl --system --no-pager";
    let seen = scene.program(as_nobody, &["get-property", ME[0], ME[1], ME[2], "SystemState"]);
    assert_eq!(text(&seen.stdout), "s \"running\"\n", "{seen:?}");
    let refused = |method: &[&str], words: &str| {
        let mut arguments = vec!["call", ME[0], ME[1], ME[2]];
        arguments.extend(method);
        let output = scene.program(as_nobody, &arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{method:?}: {said}");
    };
    refused(&["StartUnit", "ss", "a.service", "replace"], "Access denied");
    refused(&["SetEnvironment", "as", "1", "A=b"], "Access denied");
    refused(&["PowerOff"], "Access denied");
    let set = scene.program(as_nobody, &["set-property", ME[0], ME[1], ME[2], "LogLevel", "s", "debug"]);
    assert!(!set.status.success() && scene.asked.lock().unwrap().settings.is_empty());
    assert!(scene.asked.lock().unwrap().ends.is_empty());
    let as_root =
        scene.program("busctl --system", &["call", ME[0], ME[1], ME[2], "StartUnit", "ss", "a.service", "replace"]);
    assert!(as_root.status.success(), "{as_root:?}");
    assert_eq!(scene.unit("a.service"), "active (running)");
    // At the manager's own socket nobody but root is let in at all.
    let at_socket =
        "setpriv --reuid=65534 --regid=65534 --clear-groups busctl --address=unix:path=/run/systemd/private";
    for (path, mode) in [("", 0o755), ("run/private", 0o666)] {
        std::fs::set_permissions(scene.path().join(path), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let output = scene.program(at_socket, &["call", ME[0], ME[1], ME[2], "Dump"]);
    assert!(!output.status.success(), "{output:?}");
    scene.until("a word in the log", || scene.log().iter().any(|line| line.contains("user 65534 is not let in")));
}

#[test]
fn the_bus_hears_nothing_until_somebody_subscribes() {
    let mut scene = Scene::new(&[A]);
    scene.with_system_bus("");
    let monitor = |scene: &Scene, seconds: &str| {
        scene.program(
            &format!("timeout {seconds} dbus-monitor --address unix:path={}", scene.path().join("bus").display()),
            &["type='signal',interface='org.freedesktop.systemd1.Manager'"],
        )
    };
    let heard = std::thread::scope(|threads| {
        let monitoring = threads.spawn(|| monitor(&scene, "2"));
        std::thread::sleep(Duration::from_millis(700));
        scene.systemctl(&["start", "--no-block", "a.service"]);
        monitoring.join().unwrap()
    });
    let heard = text(&heard.stdout);
    assert!(!heard.contains("UnitNew") && !heard.contains("UnitRemoved"), "{heard}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = format!("unix:path={}", scene.path().join("bus").display());
    let heard = std::thread::scope(|threads| {
        let monitoring = threads.spawn(|| monitor(&scene, "3"));
        std::thread::sleep(Duration::from_millis(700));
        let subscriber = runtime.block_on(async {
            let subscriber = zbus::connection::Builder::address(address.as_str()).unwrap().build().await.unwrap();
            subscriber.call_method(Some(ME[0]), ME[1], Some(ME[2]), "Subscribe", &()).await.unwrap();
            let again = subscriber.call_method(Some(ME[0]), ME[1], Some(ME[2]), "Subscribe", &()).await;
            assert!(format!("{:?}", again.unwrap_err()).contains("AlreadySubscribed"));
            subscriber
        });
        scene.systemctl(&["restart", "a.service"]);
        drop(subscriber);
        monitoring.join().unwrap()
    });
    let heard = text(&heard.stdout);
    assert!(heard.contains("member=JobNew") && heard.contains("member=JobRemoved"), "{heard}");
}

#[test]
fn a_message_to_a_name_starts_its_service() {
    let mut scene = Scene::new(&[A, DBUS, SOCKET]);
    let services = scene.path().join("services");
    std::fs::create_dir(&services).unwrap();
    for (name, unit) in [("org.example.A", "a.service"), ("org.example.None", "nowhere.service")] {
        let text = format!("[D-BUS Service]\nName={name}\nExec=/bin/false\nUser=root\nSystemdService={unit}\n");
        std::fs::write(services.join(format!("{name}.service")), text).unwrap();
    }
    scene.with_system_bus(&format!("<servicedir>{}</servicedir>", services.display()));
    scene.systemctl(&["start", "dbus.socket", "dbus.service"]);
    let output = scene.program("busctl --system --timeout=2", &["call", "org.example.None", "/", "a.b", "C"]);
    let said = text(&output.stderr);
    assert!(said.contains("nowhere.service not found"), "{said}");
    let asking = std::thread::scope(|threads| {
        let asking =
            threads.spawn(|| scene.program("busctl --system --timeout=2", &["call", "org.example.A", "/", "a.b", "C"]));
        scene.until("the service", || scene.unit("a.service") == "active (running)");
        asking.join().unwrap()
    });
    // It never takes its name.
    assert!(!asking.status.success());
}

#[test]
fn a_name_that_a_unit_waits_for_is_told() {
    let n = "[Service]\nType=dbus\nBusName=org.example.N\nExecStart=/bin/sleep 1000\n";
    let mut scene = Scene::new(&[("n.service", n), SOCKET, DBUS]);
    scene.with_system_bus("");
    scene.bus(|bus| bus.names_wanted(["org.example.N".to_owned()].into()));
    let mut starting = scene.begin(&["start", "n.service"]);
    scene.until("the process", || scene.unit("n.service") == "activating (start)");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(scene.unit("n.service"), "activating (start)");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = format!("unix:path={}", scene.path().join("bus").display());
    let owner = runtime.block_on(async {
        let builder = zbus::connection::Builder::address(address.as_str()).unwrap();
        builder.name("org.example.N").unwrap().build().await.unwrap()
    });
    scene.until("the unit up", || scene.unit("n.service") == "active (running)");
    assert!(starting.wait().unwrap().success());
    drop(owner);
}
