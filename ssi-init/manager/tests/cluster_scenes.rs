// SPDX-License-Identifier: GPL-2.0-or-later
//! Units that the cluster places: they start under a grant, and stop with it, whatever becomes of who gave it.

mod double;

use double::World;
use ssi_cluster::ViewId;
use ssi_cluster::placement::Instance;
use ssi_cluster::scope::manager::{Told, What};
use ssi_cluster::scope::{Ended, GrantId, Limits, Order, RoundId, Run};
use ssi_manager::core::system::Exit;
use ssi_manager::job::{JobResult, Request};

const OK: Exit = Exit::Code(0);
const TAKEOVER_MS: u64 = 30_000;
const DB: &str = "[Service]\nExecStart=/bin/db\n[X-SSI]\nScope=cluster\nTakeoverSec=30\n";

struct Cluster {
    world: World,
    told: Told,
    grants: u64,
}

impl Cluster {
    fn new(files: &[(&str, &str)]) -> Self {
        let world = World::new(files);
        world.state.borrow_mut().obedient = true;
        Self { world, told: Told { orders: Some(Vec::new()), ..Told::default() }, grants: 0 }
    }

    fn now_ms(&self) -> u64 {
        self.world.state.borrow().now.monotonic / 1000
    }

    fn tell(&mut self) {
        self.world.core.cluster_told(&self.told);
        self.world.run();
    }

    /// The lease is as young as can be.
    fn renew(&mut self) {
        self.told.lease_ms = Some(self.now_ms());
        self.tell();
    }

    fn grant(&mut self, service: &str, index: u32) {
        self.grants += 1;
        let round = RoundId { ring: 1, round: 1 };
        let run = Run {
            instance: Instance::new(service, index),
            grant: GrantId { round, change: self.grants },
            view: ViewId(40 + self.grants),
            takeover_ms: TAKEOVER_MS,
        };
        let order = Order { run, may_start: true, leave: false, only_if_running: false };
        self.told.orders.get_or_insert_default().push(order);
        self.renew();
    }

    fn take_back(&mut self) {
        self.told.orders = Some(Vec::new());
        self.renew();
    }

    fn asks(&self) -> Vec<(String, What)> {
        self.world.core.cluster_says().asks.into_iter().map(|ask| (ask.unit, ask.what)).collect()
    }

    fn spent(&self) -> Vec<Ended> {
        self.world.core.cluster_says().spent.into_iter().map(|spent| spent.ended).collect()
    }

    fn running(&self) -> usize {
        self.world.core.cluster_says().runs.len()
    }
}

#[test]
fn it_starts_under_a_grant_and_not_before() {
    let mut cluster = Cluster::new(&[("db.service", DB)]);
    cluster.world.start("db.service");
    assert_eq!(cluster.world.results("db.service"), [JobResult::Done], "as with a condition that does not hold");
    assert!(cluster.world.lines().is_empty());
    assert_eq!(cluster.asks(), [("db.service".to_owned(), What::Start)]);
    let says = cluster.world.core.cluster_says();
    assert_eq!(says.units["db.service"].takeover_ms, TAKEOVER_MS);
    cluster.told.heard = says.asks[0].number;
    cluster.grant("db.service", 0);
    assert_eq!(cluster.asks(), []);
    assert_eq!(cluster.world.state("db.service"), "active (running)");
    let main = cluster.world.only("db.service");
    let environment = cluster.world.state.borrow().processes[&main].environment.clone();
    assert_eq!((environment["SSI_VIEW"].as_str(), environment["SSI_INSTANCE"].as_str()), ("41", "0"));
    cluster.take_back();
    assert_eq!(cluster.running(), 0);
    assert_eq!(cluster.world.state("db.service"), "not there");
}

#[test]
fn what_another_unit_pulls_in_is_asked_for_and_holds_nobody_up() {
    let web = "[Unit]\nRequires=db.service\nAfter=db.service\n[Service]\nExecStart=/bin/web\n";
    let mut cluster = Cluster::new(&[("db.service", DB), ("web.service", web)]);
    cluster.world.start("web.service");
    assert_eq!(cluster.world.state("web.service"), "active (running)");
    assert_eq!(cluster.asks(), [("db.service".to_owned(), What::Pull)]);
    cluster.world.start("db.service");
    assert_eq!(cluster.asks(), [("db.service".to_owned(), What::Start)]);
    cluster.world.stop("db.service");
    assert_eq!(cluster.asks(), [("db.service".to_owned(), What::Stop)], "the latest counts");
}

#[test]
fn an_old_lease_stops_it_kills_it_and_lets_the_watchdog_bite() {
    let stubborn = DB.replace("ExecStart=/bin/db\n", "ExecStart=/bin/db\nTimeoutStopSec=infinity\n");
    let mut cluster = Cluster::new(&[("db.service", &stubborn)]);
    cluster.grant("db.service", 0);
    cluster.world.state.borrow_mut().obedient = false;
    let limits = Limits::of(TAKEOVER_MS);
    let dead_man = cluster.world.core.dead_man().unwrap();
    assert_eq!(dead_man.pet_for.as_millis(), u128::from(limits.bite));
    assert_eq!(dead_man.timeout.as_secs(), 10);
    let pid = cluster.world.only("db.service");
    cluster.world.pass((limits.stop - 1) as f64 / 1e3);
    assert_eq!(cluster.world.state.borrow().signals, []);
    cluster.world.pass(0.002);
    assert_eq!(cluster.world.state.borrow().signals.first(), Some(&(pid, 15)));
    cluster.world.pass((limits.kill - limits.stop) as f64 / 1e3);
    assert!(cluster.world.state.borrow().signals.contains(&(pid, 9)));
    cluster.world.pass((limits.bite - limits.kill) as f64 / 1e3);
    assert!(cluster.world.logged("the watchdog is left alone"));
    assert_eq!(cluster.world.core.dead_man().unwrap().pet_for.as_millis(), 0);
    // A lease that comes back starts nothing that was stopping.
    cluster.world.exit(pid, Exit::Signal(9));
    cluster.renew();
    assert_eq!((cluster.running(), cluster.spent()), (0, vec![Ended::Stopped]));
    assert_eq!(cluster.world.core.dead_man(), None);
}

#[test]
fn how_it_ended_is_told() {
    for (text, exit, ended) in [
        ("ExecStart=/bin/db\n", OK, Ended::Through),
        ("ExecStart=/bin/db\n", Exit::Code(1), Ended::Failed),
        ("Type=oneshot\nExecStart=/bin/db\n", OK, Ended::Through),
    ] {
        let text = format!("[Service]\n{text}[X-SSI]\nScope=cluster\n");
        let mut cluster = Cluster::new(&[("db.service", &text)]);
        cluster.grant("db.service", 0);
        cluster.world.exit(cluster.world.only("db.service"), exit);
        assert_eq!(cluster.spent(), [ended], "{text}{exit:?}");
        cluster.renew();
        assert_eq!((cluster.running(), cluster.world.lines().len()), (0, 1), "a spent grant starts nothing");
    }
}

#[test]
fn its_own_restart_comes_first_and_a_failure_is_told_when_that_is_exhausted() {
    let text = "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n[Service]\nExecStart=/bin/db\nRestart=always\n\
                [X-SSI]\nScope=cluster\n";
    let mut cluster = Cluster::new(&[("db.service", text)]);
    cluster.grant("db.service", 0);
    cluster.world.exit(cluster.world.only("db.service"), Exit::Code(1));
    cluster.world.pass(1.0);
    assert_eq!((cluster.world.lines().len(), cluster.running()), (2, 1));
    cluster.world.exit(cluster.world.only("db.service"), Exit::Code(1));
    cluster.world.pass(1.0);
    assert_eq!((cluster.world.lines().len(), cluster.spent()), (2, vec![Ended::Failed]));
    // Another grant is another beginning.
    cluster.take_back();
    cluster.grant("db.service", 0);
    assert_eq!(cluster.world.state("db.service"), "active (running)");
}

#[test]
fn what_does_not_come_up_here_is_a_failure() {
    let text = "[Unit]\nConditionPathExists=/none\n[Service]\nExecStart=/bin/db\n[X-SSI]\nScope=cluster\n";
    let mut cluster = Cluster::new(&[("db.service", text)]);
    cluster.world.state.borrow_mut().false_conditions.insert("/none".into());
    cluster.grant("db.service", 0);
    assert_eq!(cluster.spent(), [Ended::Failed]);
    cluster.take_back();
    cluster.grant("nothing.service", 0);
    assert_eq!(cluster.spent(), [Ended::Failed]);
    assert!(cluster.world.logged("its unit file is missing here"));
}

#[test]
fn stopped_by_hand_it_is_the_clusters_to_know() {
    let mut cluster = Cluster::new(&[("db.service", DB)]);
    cluster.grant("db.service", 0);
    cluster.world.stop("db.service");
    assert_eq!(cluster.spent(), [Ended::Stopped]);
    assert_eq!(cluster.asks(), [("db.service".to_owned(), What::Stop)]);
}

#[test]
fn a_restart_here_keeps_the_grant_and_one_elsewhere_is_asked_for() {
    let mut cluster = Cluster::new(&[("db.service", DB)]);
    cluster.grant("db.service", 0);
    cluster.world.request(Request::Restart, "db.service");
    assert_eq!((cluster.world.lines().len(), cluster.running(), cluster.asks()), (2, 1, vec![]));
    cluster.told.restart = vec!["db.service".to_owned()];
    cluster.renew();
    cluster.told.restart.clear();
    assert_eq!((cluster.world.lines().len(), cluster.running()), (3, 1));
    cluster.take_back();
    cluster.world.request(Request::Restart, "db.service");
    assert_eq!(cluster.asks(), [("db.service".to_owned(), What::Restart)]);
    assert_eq!(cluster.world.lines().len(), 3);
}

#[test]
fn the_next_manager_goes_on_with_the_grants_and_the_lease() {
    let mut cluster = Cluster::new(&[("db.service", DB), ("other.service", DB)]);
    cluster.world.start("other.service");
    cluster.grant("db.service", 0);
    let pid = cluster.world.only("db.service");
    cluster.world.replace_manager();
    assert_eq!((cluster.running(), cluster.world.state("db.service")), (1, "active (running)".to_owned()));
    assert!(cluster.world.core.dead_man().is_some());
    assert_eq!(cluster.world.core.cluster_says().units.len(), 2, "those at rest too");
    // It was told nothing yet, and stops what it holds in time all the same.
    cluster.world.pass((Limits::of(TAKEOVER_MS).stop + 1) as f64 / 1e3);
    assert!(cluster.world.state.borrow().signals.contains(&(pid, 15)));
    assert_eq!(cluster.running(), 0);
}

#[test]
fn all_that_is_part_of_it_moves_with_it_in_its_order() {
    let top = "[Unit]\nBindsTo=disk.service web.service\nAfter=disk.service web.service\n[X-SSI]\nScope=cluster\n";
    let disk = "[Unit]\nPartOf=top.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/disk up\nExecStop=/bin/disk down\n";
    let web = "[Unit]\nPartOf=top.target\nAfter=disk.service\nRequires=disk.service\n[Service]\nExecStart=/bin/web\n";
    let mut cluster = Cluster::new(&[("top.target", top), ("disk.service", disk), ("web.service", web)]);
    cluster.world.start("web.service");
    assert!(cluster.world.lines().is_empty(), "a part starts nowhere else");
    cluster.grant("top.target", 0);
    let command = cluster.world.only("disk.service");
    assert_eq!(cluster.world.state.borrow().processes[&command].environment["SSI_VIEW"], "41");
    cluster.world.exit(command, OK);
    assert_eq!(cluster.world.state("top.target"), "active (active)");
    assert_eq!(cluster.world.lines(), ["/bin/disk up", "/bin/web"]);
    // One that fails takes the whole along; it has ended when the last part has.
    cluster.world.exit(cluster.world.only("web.service"), Exit::Code(1));
    assert_eq!(cluster.world.lines().last().unwrap(), "/bin/disk down");
    assert_eq!((cluster.running(), cluster.spent()), (1, vec![]));
    cluster.world.exit(cluster.world.only("disk.service"), OK);
    assert_eq!((cluster.running(), cluster.spent()), (0, vec![Ended::Failed]));
}

#[test]
fn what_a_socket_starts_goes_with_it() {
    let socket = "[Socket]\nListenStream=/run/db.sock\n[X-SSI]\nScope=cluster\n";
    let service = "[Service]\nExecStart=/bin/db\n";
    let boot = "[Unit]\nWants=db.socket\n";
    let mut cluster = Cluster::new(&[("db.socket", socket), ("db.service", service), ("boot.target", boot)]);
    cluster.world.state.borrow_mut().obedient = false;
    // At a boot all nodes read the socket's file, and one opens it.
    cluster.world.start("boot.target");
    cluster.world.start("db.service");
    assert!(cluster.world.lines().is_empty(), "what the cluster's socket starts is started nowhere else");
    cluster.grant("db.socket", 0);
    assert!(cluster.world.connect("db.socket", 0));
    let main = cluster.world.only("db.service");
    cluster.take_back();
    assert_eq!((cluster.running(), cluster.spent()), (1, vec![]), "the service still runs");
    assert!(cluster.world.signals().contains(&(main, 15)));
    cluster.world.exit(main, OK);
    assert_eq!((cluster.running(), cluster.spent()), (0, vec![Ended::Stopped]));
}

#[test]
fn what_it_leaves_behind_is_killed_before_it_counts_as_ended() {
    let text = "[Service]\nExecStart=/bin/db\nKillMode=process\n[X-SSI]\nScope=cluster\n";
    let mut cluster = Cluster::new(&[("db.service", text)]);
    cluster.grant("db.service", 0);
    let main = cluster.world.only("db.service");
    let child = cluster.world.fork(main);
    cluster.world.exit(main, Exit::Code(1));
    assert!(cluster.world.state.borrow().signals.contains(&(child, 9)));
    assert_eq!(cluster.spent(), [Ended::Failed]);
}

#[test]
fn what_runs_when_its_file_becomes_the_clusters_is_stopped() {
    let mut cluster = Cluster::new(&[("db.service", "[Service]\nExecStart=/bin/db\n")]);
    cluster.world.start("db.service");
    assert_eq!(cluster.asks(), []);
    cluster.world.rewrite(&[("db.service", Some(DB))]);
    assert_eq!(cluster.asks(), [("db.service".to_owned(), What::Pull)]);
    assert_eq!(cluster.world.state("db.service"), "not there");
    // And the other way round it is this node's own again, to be started by whoever wants it.
    cluster.grant("db.service", 0);
    cluster.world.rewrite(&[("db.service", Some("[Service]\nExecStart=/bin/db\n"))]);
    assert!(cluster.world.core.cluster_says().units.is_empty());
}

#[test]
fn a_template_has_its_instances_here() {
    let text = "[Service]\nExecStart=/bin/web %i\n[X-SSI]\nScope=cluster\nInstances=3\n";
    let mut cluster = Cluster::new(&[("web@.service", text)]);
    cluster.world.start("web@0.service");
    assert_eq!(cluster.asks(), [("web@.service".to_owned(), What::Start)]);
    cluster.grant("web@.service", 0);
    cluster.grant("web@.service", 2);
    assert_eq!(cluster.world.lines(), ["/bin/web 0", "/bin/web 2"]);
    assert_eq!(cluster.world.core.cluster_says().states["web@.service#2"].unit, "web@2.service");
}

#[test]
fn a_machine_that_goes_down_takes_nothing_and_says_so() {
    let mut cluster = Cluster::new(&[("db.service", DB)]);
    cluster.grant("db.service", 0);
    cluster.world.start("shutdown.target");
    assert_eq!(cluster.spent(), [Ended::Stopped]);
    assert!(cluster.world.core.cluster_says().stopping);
    cluster.take_back();
    cluster.grant("db.service", 0);
    assert_eq!((cluster.world.lines().len(), cluster.spent()), (1, vec![Ended::Stopped]));
}

#[test]
fn where_it_runs_is_shown() {
    let mut cluster = Cluster::new(&[("db.service", DB)]);
    let id = cluster.world.core.unit_named("db.service").unwrap();
    assert_eq!(cluster.world.core.title_of(id), "db.service [cluster: not known yet]");
    cluster.told.places.insert("db.service".into(), "node 2 (node2)".into());
    cluster.tell();
    let id = cluster.world.core.unit_named("db.service").unwrap();
    assert_eq!(cluster.world.core.title_of(id), "db.service [cluster: node 2 (node2)]");
}
