//! An order on its way, and what the view shows meanwhile.

use digue_proto::report::{Links, Outcome};
use digue_proto::statement::Stated;
use serde_json::json;

use crate::documents::{add, armour, host_key};
use crate::process::{Controller, order_name, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_cut_reaches_its_host_and_only_receipts_and_reports_move_the_view() {
    let (controller, deployment) = Controller::with_fleet(2);
    let mut agent = controller.agent(&deployment, 1).await;
    assert!(agent.welcome.enrolled);
    let open = agent.report(Links::Open);
    agent.stored(open).await;
    assert_eq!(controller.host(1)["links"], "open");

    let bundle = deployment.cut(1, 1, &[1]);
    let (status, view) = controller.post("/api/v1/orders", &bundle);
    assert_eq!((status, &view["state"]), (201, &json!("sealed")), "{view}");
    let delivery = agent.order().await;
    assert_eq!(delivery.order, bundle.order);
    assert_eq!(delivery.target.expect("a leaf").leaf, bundle.leaves[0].0);
    wait_for("the order is noted as sent", || (controller.phases(1) == ["sent"]).then_some(()));
    assert_eq!(controller.host(1)["links"], "open", "an order that was sent changed the tile");
    assert_eq!(controller.host(1)["unconfirmed"], json!([order_name(1)]));

    let digest = bundle.order.digest();
    for (outcome, phase) in [
        (Outcome::Acknowledged {}, "acknowledged"),
        (Outcome::Applied {}, "applied"),
        (Outcome::Verified {}, "verified"),
    ] {
        let receipt = agent.receipt(digest, outcome);
        agent.stored(receipt).await;
        assert_eq!(controller.phases(1), [phase]);
        assert_eq!(controller.host(1)["links"], "open", "a receipt changed the tile");
    }
    let cut = agent.report(Links::Cut);
    agent.stored(cut).await;
    let host = controller.host(1);
    assert_eq!(host["links"], "cut");
    assert_eq!(host["exposed"], false);
    assert_eq!(host["unconfirmed"], json!([]));
    let (_, fleet) = controller.get("/api/v1/hosts");
    assert_eq!(fleet["summary"]["cut"], 1);
    assert_eq!(fleet["summary"]["exposed"], 1, "the host without an agent is exposed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_says_that_the_rules_are_gone_ends_the_cut_in_the_view() {
    let (controller, deployment) = Controller::with_fleet(1);
    let mut agent = controller.agent(&deployment, 1).await;
    let cut = agent.report(Links::Cut);
    agent.stored(cut).await;
    assert_eq!(controller.host(1)["links"], "cut");
    agent.heartbeat(Links::Cut, false).await;
    wait_for("the tile fails", || (controller.host(1)["links"] == "failed").then_some(()));
    assert_eq!(controller.host(1)["exposed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_an_offline_host_waits_changes_no_tile_and_is_delivered_when_it_returns() {
    let (controller, deployment) = Controller::with_fleet(1);
    let before = controller.host(1);
    let bundle = deployment.cut(1, 1, &[1]);
    assert_eq!(controller.post("/api/v1/orders", &bundle).0, 201);
    assert_eq!(controller.phases(1), ["waiting"]);
    let mut after = controller.host(1);
    assert_eq!(after["unconfirmed"], json!([order_name(1)]));
    after["unconfirmed"] = json!([]);
    assert_eq!(after, before, "a queued order changed the tile of a host that nobody heard");

    let mut agent = controller.agent(&deployment, 1).await;
    assert_eq!(agent.order().await.order.digest(), bundle.order.digest());
    // No receipt was sent: it comes again on the next connection.
    let mut again = controller.agent(&deployment, 1).await;
    assert_eq!(again.order().await.order.digest(), bundle.order.digest());
    let receipt = again.receipt(bundle.order.digest(), Outcome::Acknowledged {});
    again.stored(receipt).await;
    // A receipt was sent: only what is still open comes.
    let next = deployment.cut(2, 2, &[1]);
    assert_eq!(controller.post("/api/v1/orders", &next).0, 201);
    let mut third = controller.agent(&deployment, 1).await;
    assert_eq!(third.order().await.order.digest(), next.order.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_waits_for_its_signatures_and_says_why_one_does_not_count() {
    let (controller, deployment) = Controller::with_fleet(1);
    let mut agent = controller.agent(&deployment, 1).await;
    let action = digue_proto::order::Action::Release { without_verdict: true };
    let mut bundle = deployment.order(1, 1, action, &[1]);
    let (status, view) = controller.post("/api/v1/orders", &bundle);
    assert_eq!((status, &view["state"], &view["needed"]), (201, &json!("awaiting_signatures"), &json!(2)));
    assert_eq!(view["hosts"], json!([]));
    let path = format!("/api/v1/orders/{}/signatures", order_name(1));
    let sign = |key: &crate::documents::Key| {
        let signature = armour(&bundle.order, key);
        controller.post(&path, &json!({ "signature": signature }))
    };
    let (status, problem) = sign(&host_key(1));
    assert_eq!((status, &problem["code"]), (422, &json!("E0513")), "{problem}");
    let alice = &deployment.people[0].1;
    assert_eq!(sign(alice).1["signers"], json!(["alice"]));
    let (status, view) = sign(alice);
    assert_eq!((status, &view["state"]), (200, &json!("awaiting_signatures")), "a repeat counted");
    let (_, approvals) = controller.get("/api/v1/approvals");
    assert_eq!(approvals["orders"][0]["order_id"], order_name(1));
    let (status, view) = sign(&deployment.people[1].1);
    assert_eq!((status, &view["state"]), (200, &json!("sealed")), "{view}");
    assert_eq!(view["signers"], json!(["alice", "bruno"]));
    for (_, key) in &deployment.people[..2] {
        add(&mut bundle.order, key);
    }
    assert_eq!(agent.order().await.order, bundle.order);
    assert_eq!(controller.get("/api/v1/approvals").1["orders"], json!([]));
    let path = format!("/api/v1/orders/{}/cancel", order_name(1));
    let (status, problem) = controller.request("POST", &path, None);
    assert_eq!((status, &problem["code"]), (409, &json!("E0515")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_twice_is_one_order_and_another_of_the_same_name_is_a_conflict() {
    let (controller, deployment) = Controller::with_fleet(2);
    let bundle = deployment.cut(1, 1, &[1]);
    assert_eq!(controller.post("/api/v1/orders", &bundle).0, 201);
    let (status, view) = controller.post("/api/v1/orders", &bundle);
    assert_eq!((status, &view["state"]), (200, &json!("sealed")));
    let (_, orders) = controller.get("/api/v1/orders");
    assert_eq!(orders["orders"].as_array().expect("orders").len(), 1);
    let (_, stored) = controller.get("/api/v1/envelopes");
    assert_eq!(stored["envelopes"].as_array().expect("envelopes").len(), 3, "root, inventory, one order");
    let (status, problem) = controller.post("/api/v1/orders", &deployment.cut(1, 1, &[1, 2]));
    assert_eq!((status, &problem["code"]), (409, &json!("E0512")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_is_never_sent_and_cannot_be_handed_in_again() {
    let (mut controller, deployment) = Controller::with_fleet(1);
    let mut bundle = deployment.order(1, 1, crate::documents::contain(), &[1]);
    assert_eq!(controller.post("/api/v1/orders", &bundle).0, 201);
    let path = format!("/api/v1/orders/{}/cancel", order_name(1));
    let (status, view) = controller.request("POST", &path, None);
    assert_eq!((status, &view["state"]), (200, &json!("cancelled")));
    add(&mut bundle.order, &deployment.people[0].1);
    for _ in 0..2 {
        let (status, problem) = controller.post("/api/v1/orders", &bundle);
        assert_eq!((status, &problem["code"]), (409, &json!("E0514")));
        controller.kill();
        controller.run();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_clean_with_two_signatures_of_which_one_is_forensic_and_not_after_a_suspicion() {
    let (controller, deployment) = Controller::with_fleet(1);
    let mut agent = controller.agent(&deployment, 1).await;
    let open = agent.report(Links::Open);
    agent.stored(open).await;
    let statement = deployment.statement(1, Stated::Clean, 1);
    let (status, answer) = controller.post("/api/v1/statements", &statement);
    assert_eq!(
        (status, &answer["state"], &answer["needed"]),
        (200, &json!("awaiting_signatures"), &json!(2))
    );
    assert_eq!(controller.host(1)["verdict"], "unassessed");
    let path = format!("/api/v1/statements/{}/signatures", statement.digest());
    let signature = armour(&statement, &deployment.people[1].1);
    let (status, answer) = controller.post(&path, &json!({ "signature": signature }));
    assert_eq!((status, &answer["state"]), (200, &json!("accepted")), "{answer}");
    let host = controller.host(1);
    assert_eq!(host["verdict"], "clean");
    assert_eq!(host["exposed"], false);
    assert_eq!(host["clean_statement"], statement.digest().to_string());
    let (status, _) = controller.post("/api/v1/statements", &deployment.statement(1, Stated::Suspect, 1));
    assert_eq!(status, 200);
    assert_eq!(controller.host(1)["verdict"], "suspect");
    let (_, listed) = controller.get("/api/v1/statements?host=srv-001");
    assert_eq!(listed["statements"].as_array().expect("statements").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_two_hundred_hosts_is_on_all_sockets_within_a_moment() {
    const HOSTS: u32 = 200;
    let (controller, deployment) = Controller::with_fleet(HOSTS);
    let mut agents = Vec::new();
    for index in 1..=HOSTS {
        agents.push(controller.agent(&deployment, index).await);
    }
    wait_for("all are connected", || (controller.get("/readyz").1["agents"] == HOSTS).then_some(()));
    let bundle = deployment.cut(1, 1, &(1..=HOSTS).collect::<Vec<_>>());
    let waiting: Vec<_> = agents
        .into_iter()
        .map(|mut agent| tokio::spawn(async move { agent.order().await.order.digest() }))
        .collect();
    let began = std::time::Instant::now();
    assert_eq!(controller.post("/api/v1/orders", &bundle).0, 201);
    for agent in waiting {
        assert_eq!(agent.await.expect("agent"), bundle.order.digest());
    }
    let took = began.elapsed();
    println!("200 deliveries received {} ms after the request began", took.as_millis());
    assert!(took < std::time::Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_carries_each_host_s_own_clean_statement() {
    let (controller, deployment) = Controller::with_fleet(2);
    let mut agents = [controller.agent(&deployment, 1).await, controller.agent(&deployment, 2).await];
    let statements = [deployment.statement(1, Stated::Clean, 2), deployment.statement(2, Stated::Clean, 2)];
    let mut bundle = deployment.release(1, 1, &statements);
    for key in deployment.signers(2) {
        add(&mut bundle.order, key);
    }
    let mut without = bundle.clone();
    without.statements.pop();
    let (status, problem) = controller.post("/api/v1/orders", &without);
    assert_eq!((status, &problem["code"]), (422, &json!("E0511")), "{problem}");
    let (status, view) = controller.post("/api/v1/orders", &bundle);
    assert_eq!((status, &view["state"]), (201, &json!("sealed")), "{view}");
    let deliveries = bundle.deliveries(&bundle.read_unverified().expect("order")).expect("deliveries");
    for (agent, (_, delivery)) in agents.iter_mut().zip(deliveries) {
        assert_eq!(agent.order().await, delivery);
    }
}
