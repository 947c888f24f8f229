// SPDX-License-Identifier: GPL-2.0-or-later
//! What ssi-clusterd asks and tells at the manager's own socket.

mod scene;

use scene::Scene;
use ssi_cluster::ViewId;
use ssi_cluster::placement::Instance;
use ssi_cluster::scope::manager::{INTERFACE, PATH, Says, Told, What};
use ssi_cluster::scope::{GrantId, Order, RoundId, Run};
use zbus::Connection;
use zbus::export::futures_core::Stream;

const DB: (&str, &str) =
    ("db.service", "[Service]\nExecStart=/bin/sleep 1000\n[X-SSI]\nScope=cluster\nTakeoverSec=60\n");

async fn connect(scene: &Scene) -> Connection {
    let stream = tokio::net::UnixStream::connect(scene.path().join("run/private")).await.unwrap();
    zbus::connection::Builder::unix_stream(stream).p2p().build().await.unwrap()
}

async fn attach(connection: &Connection) -> Says {
    let answer = connection.call_method(None::<&str>, PATH, Some(INTERFACE), "Attach", &()).await.unwrap();
    serde_json::from_str(answer.body().deserialize::<&str>().unwrap()).unwrap()
}

async fn tell(connection: &Connection, told: &str) -> zbus::Result<Says> {
    let answer = connection.call_method(None::<&str>, PATH, Some(INTERFACE), "Tell", &(told,)).await?;
    Ok(serde_json::from_str(answer.body().deserialize::<&str>()?).unwrap())
}

fn granted() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let run = Run {
        instance: Instance::new("db.service", 0),
        grant: GrantId { round: RoundId { ring: 1, round: 1 }, change: 1 },
        view: ViewId(7),
        takeover_ms: 60_000,
    };
    let orders = Some(vec![Order { run, may_start: true, leave: false, only_if_running: false }]);
    let lease_ms = Some(now.tv_sec as u64 * 1000);
    serde_json::to_string(&Told { lease_ms, orders, ..Told::default() }).unwrap()
}

async fn next_signal(stream: &mut zbus::MessageStream) -> String {
    loop {
        let mut stream = std::pin::Pin::new(&mut *stream);
        let message = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await.unwrap().unwrap();
        if message.message_type() == zbus::message::Type::Signal {
            return message.header().member().unwrap().to_string();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_daemon_that_attached_last_is_heard() {
    let scene = Scene::new(&[DB]);
    let early = connect(&scene).await;
    assert!(tell(&early, &granted()).await.unwrap_err().to_string().contains("never did"));
    assert_eq!(attach(&early).await.runs, []);
    let late = connect(&scene).await;
    attach(&late).await;
    assert!(tell(&early, &granted()).await.is_err(), "what it had on its way may not be true any more");
    let says = tell(&late, &granted()).await.unwrap();
    assert_eq!(says.runs.len(), 1);
    assert_eq!(scene.unit("db.service"), "active (running)");
    assert!(tell(&late, "{\"lease_ms\":\"soon\"}").await.unwrap_err().to_string().contains("cannot be read"));
    // Gone and back: what runs is known.
    drop(late);
    let again = connect(&scene).await;
    assert_eq!(attach(&again).await.runs, says.runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn systemctl_asks_the_cluster_and_the_daemon_hears_of_it() {
    let scene = Scene::new(&[DB]);
    let daemon = connect(&scene).await;
    let mut stream = zbus::MessageStream::from(&daemon);
    attach(&daemon).await;
    tell(&daemon, "{}").await.unwrap();
    scene.systemctl(&["start", "db.service"]);
    // Of units and jobs it hears nothing: it asks for what it wants to know.
    assert_eq!(next_signal(&mut stream).await, "Changed");
    let says = tell(&daemon, "{\"places\":{\"db.service\":\"node 2 (node2)\"}}").await.unwrap();
    assert_eq!((says.asks[0].unit.as_str(), says.asks[0].what), ("db.service", What::Start));
    assert_eq!(scene.state.lock().unwrap().processes.len(), 0);
    let shown = scene.fails(3, &["status", "db.service"]);
    assert!(
        shown.contains("db.service [cluster: node 2 (node2)]") || shown.contains("cluster: node 2 (node2)"),
        "{shown}"
    );
    let heard = tell(&daemon, &format!("{{\"heard\":{}}}", says.asks[0].number)).await.unwrap();
    assert_eq!(heard.asks, []);
}
