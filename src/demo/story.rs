//! What happens in the demo, act by act, and the verdict at its end.
//!
//! Each exchange is shown from its record, read back from disk, not from what the proxy told the client; what the clients
//! were told is held against the records at the end.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::child::Proxy;
use super::compare::{self, Side};
use super::log::Log;
use super::recipient::Answer;
use super::screen::{Screen, grouped, tail, time_of};
use super::uploader::{Reply, Uploader};
use super::verdict::{Evidence, Point, Told};
use super::world::{
    self, CONTRACTOR, FRAMES, MINISTRY_A, MINISTRY_B, OFFICE, STRANGER, UNDECLARED, UPLOADER, VENDOR, World,
};
use super::{DemoFault, ProxyFault};
use crate::policy::End;
use crate::proxy::stopped;
use crate::record::past::Kind;
use crate::tls::{Root, Trust};

/// The demo register's `min_interval`, and a little: the real one is five minutes.
const BEAT: Duration = Duration::from_millis(2_200);
/// Anything that must happen has happened by then, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often exchanges are looked for while serving.
const LOOK: Duration = Duration::from_millis(200);

/// The case under way.
pub struct Play {
    world: World,
    screen: Screen,
    log: Log,
    program: PathBuf,
    /// `None` while it is dead.
    proxy: Option<Proxy>,
    trust: Trust,
    /// When Ministry A last got a frame in its beat.
    beat: Instant,
    /// Exchanges that the story began.
    begun: usize,
    /// Refusals that clients were told.
    refusals: Vec<Told>,
    /// Whether others were invited to send, too.
    invited: bool,
}

impl Play {
    /// Starts the proxy and introduces the play.
    ///
    /// # Errors
    /// The proxy does not start.
    pub async fn begin(world: World, program: &Path, mut screen: Screen) -> Result<Play, DemoFault> {
        let log = world.log()?;
        let proxy = Proxy::start(program, &world).await?;
        let roots = [Root::File(world.authority())];
        let trust = Trust::new(&roots).map_err(|fault| DemoFault::Certificate(fault.to_string()))?;
        introduce(&mut screen, &world, &proxy);
        Ok(Play {
            world,
            screen,
            log,
            program: program.to_owned(),
            proxy: Some(proxy),
            trust,
            beat: Instant::now(),
            begun: 0,
            refusals: Vec::new(),
            invited: false,
        })
    }

    /// Plays every act.
    ///
    /// # Errors
    /// [`DemoFault`]: something happened that is not in the play.
    pub async fn acts(&mut self) -> Result<(), DemoFault> {
        if !self.log.is_first() {
            // The limits remember what an earlier run sent a moment ago.
            self.rest().await;
        }
        self.declared_or_not().await?;
        self.allowance().await?;
        self.burst().await?;
        self.kill().await
    }

    async fn declared_or_not(&mut self) -> Result<(), DemoFault> {
        self.screen.heading("The camera uploader sends its frame to four places. One of them is declared and granted.");
        self.screen.columns();
        self.post(UPLOADER, MINISTRY_A, FRAMES[0]).await?;
        self.beat = Instant::now();
        self.post(UPLOADER, MINISTRY_B, FRAMES[0]).await?;
        self.post(UPLOADER, CONTRACTOR, FRAMES[0]).await?;
        self.post(UPLOADER, UNDECLARED, FRAMES[0]).await?;
        self.screen.heading("A system that nobody declared sends to Ministry A.");
        self.post(STRANGER, MINISTRY_A, FRAMES[1]).await
    }

    async fn allowance(&mut self) -> Result<(), DemoFault> {
        self.screen.heading("An allowance opens a download. It is no back door for frames.");
        let package = Answer { body: world::package(), ..Answer::status(200) };
        self.world.site(VENDOR).recipient.answer_next(package);
        let request = Request::get(self.world.site(VENDOR).url("/packages/agent-2.4.deb"));
        let reply = self.send(OFFICE, request.body(Bytes::new()).expect("a target of ours is one")).await?;
        self.screen.remark(format_args!("{} bytes came down", grouped(reply.body.len() as u64)));
        self.post(UPLOADER, VENDOR, FRAMES[1]).await
    }

    /// Three at once, so that no pause of a slow machine lets two of them through.
    async fn burst(&mut self) -> Result<(), DemoFault> {
        self.screen
            .heading("Three frames at once to Ministry A, declared for one every five minutes (here: two seconds).");
        self.rest().await;
        let requests = [1, 2, 3].map(|frame| self.frame(MINISTRY_A, FRAMES[frame]));
        let client = self.client(UPLOADER)?;
        self.begun += requests.len();
        let [one, two, three] = requests.map(|request| client.send(request));
        let (one, two, three) = tokio::join!(one, two, three);
        self.beat = Instant::now();
        let mut wait = None;
        for reply in [one?, two?, three?] {
            wait = wait.or_else(|| retry_after(&reply));
            self.hear(&reply);
        }
        self.show()?;
        let Some(wait) = wait else { return Ok(()) };
        self.screen.remark(format_args!(
            "the uploader is told to retry after {} s; it waits, then sends the next frame",
            wait.as_secs()
        ));
        sleep(wait).await;
        self.rest().await;
        self.post(UPLOADER, MINISTRY_A, FRAMES[4]).await?;
        self.beat = Instant::now();
        Ok(())
    }

    async fn kill(&mut self) -> Result<(), DemoFault> {
        self.screen.heading("The proxy is killed while Ministry A has a frame but has not answered yet.");
        self.rest().await;
        let arrived = self.world.site(MINISTRY_A).recipient.requests().len();
        self.world.site(MINISTRY_A).recipient.answer_next(Answer { after: 2 * PATIENCE, ..Answer::status(200) });
        let request = self.frame(MINISTRY_A, FRAMES[2]);
        let client = self.client(UPLOADER)?;
        self.begun += 1;
        let waiting = tokio::spawn(async move { client.send(request).await });
        let recipient = &self.world.site(MINISTRY_A).recipient;
        until("Ministry A had the frame", || recipient.requests().len() > arrived).await?;
        self.show()?;
        self.kill_proxy()?;
        // The connection broke: that is all the uploader learns, and a reply would be none of the play.
        if let Ok(Ok(reply)) = waiting.await {
            self.hear(&reply);
        }
        self.recover().await?;
        self.screen.remark("the uploader got no answer and sends the same frame again: a retry is outside the beat");
        self.post(UPLOADER, MINISTRY_A, FRAMES[2]).await
    }

    fn kill_proxy(&mut self) -> Result<(), DemoFault> {
        let Some(proxy) = self.proxy.take() else { return Ok(()) };
        let id = proxy.id();
        proxy.kill()?;
        let now = self.now()?;
        self.screen.event(&now, &format!("the proxy (process {id}) is dead: SIGKILL"));
        Ok(())
    }

    /// Starts the proxy again on the same state folder; it closes what was left open.
    async fn recover(&mut self) -> Result<(), DemoFault> {
        let proxy = Proxy::start(&self.program, &self.world).await?;
        let id = proxy.id();
        self.proxy = Some(proxy);
        let records = self.log.all()?;
        let start = records.iter().rfind(|record| record.kind == Kind::Lifecycle("start".to_owned()));
        let time = start.map(time_of).unwrap_or_default();
        let closed = records.iter().filter(|record| record.end == Some(End::Interrupted));
        let closed: Vec<&str> = closed.filter_map(|record| record.exchange.as_deref()).map(tail).collect();
        self.screen.event(&time, &format!("a new one (process {id}) has read the log and goes on"));
        for id in closed {
            self.screen.remark(format_args!("the exchange that was in flight is closed as interrupted (…{id})"));
        }
        Ok(())
    }

    /// Stops the proxy, compares the two sides and tells the verdict: whether they agree.
    ///
    /// # Errors
    /// The proxy does not stop, or the log does not open.
    pub async fn finish(&mut self) -> Result<bool, DemoFault> {
        self.show()?;
        if let Some(proxy) = self.proxy.take() {
            proxy.stop().await?;
        }
        let records = self.log.all()?;
        let key = self.log.digest_key()?;
        let accounts = self.world.sites.iter().map(|site| site.account(&key));
        let sides: Vec<Side> = accounts.map(|account| compare::compare(account, &records)).collect();
        self.screen.heading("What each recipient says it received, beside what the records say");
        self.screen.sides(&sides);
        self.screen.heading("Verdict");
        let (refusals, begun, guests) = (&self.refusals, self.begun, self.invited);
        let mut points = Evidence { sides: &sides, records: &records, refusals, begun, guests }.points();
        points.push(self.opens().await?);
        let agreed = points.iter().all(|point| point.holds);
        points.iter().for_each(|point| self.screen.point(point.holds, &point.text));
        self.screen.verdict(agreed);
        if self.world.keeps_state {
            let state = self.world.state.display();
            self.screen.say(format_args!("To search the records: tasrih transfers --state {state}"));
        }
        Ok(agreed)
    }

    async fn opens(&self) -> Result<Point, DemoFault> {
        let recovery = self.log.open().await?;
        let holds = recovery.interrupted == 0 && recovery.torn.is_none();
        Ok(Point { holds, text: "the log opens, every frame of it verified".to_owned() })
    }

    /// Goes on serving until told to stop, or until the proxy ends, and shows each exchange.
    ///
    /// # Errors
    /// The proxy does not start, or the log cannot be read.
    pub async fn serve(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), DemoFault> {
        let proxy = Proxy::start(&self.program, &self.world).await?;
        invite(&mut self.screen, &self.world, &proxy);
        self.proxy = Some(proxy);
        self.invited = true;
        self.screen.columns();
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = stopped(stop) => return Ok(()),
            }
            self.show()?;
            let runs = self.proxy.as_mut().map_or(Ok(false), Proxy::runs);
            if !runs? {
                return Ok(());
            }
        }
    }

    /// Waits until the beat of Ministry A's transfer has passed.
    async fn rest(&self) {
        sleep_until(self.beat + BEAT).await;
    }

    async fn post(&mut self, from: IpAddr, host: &str, frame: &'static [u8]) -> Result<(), DemoFault> {
        let request = self.frame(host, frame);
        self.send(from, request).await.map(drop)
    }

    async fn send(&mut self, from: IpAddr, request: Request<Bytes>) -> Result<Reply, DemoFault> {
        self.begun += 1;
        let reply = self.client(from)?.send(request).await?;
        self.hear(&reply);
        self.show()?;
        Ok(reply)
    }

    fn frame(&self, host: &str, frame: &'static [u8]) -> Request<Bytes> {
        let request = Request::post(self.world.site(host).url("/cctv/entrance")).header("content-type", "image/jpeg");
        request.body(Bytes::from_static(frame)).expect("a target of ours is one")
    }

    fn client(&self, from: IpAddr) -> Result<Uploader, DemoFault> {
        let proxy = self.proxy.as_ref().ok_or(ProxyFault::Silent)?.address;
        Ok(Uploader { proxy, from, trust: self.trust.clone() })
    }

    /// Remembers what a client was told.
    fn hear(&mut self, reply: &Reply) {
        if let (Some(reason), Some(record)) = (reply.proxy_status("reason"), reply.proxy_status("record")) {
            self.refusals.push(Told { reason, record });
        }
    }

    /// Shows the exchanges decided since it was last called.
    fn show(&mut self) -> Result<(), DemoFault> {
        for decision in self.log.news()? {
            self.screen.exchange(&decision, &self.world);
        }
        Ok(())
    }

    /// The time as the newest record has it: the demo has no other clock.
    fn now(&self) -> Result<String, DemoFault> {
        Ok(self.log.all()?.last().map(time_of).unwrap_or_default())
    }
}

fn retry_after(reply: &Reply) -> Option<Duration> {
    let seconds = reply.headers.get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(PATIENCE))
}

async fn until(what: &'static str, holds: impl Fn() -> bool) -> Result<(), DemoFault> {
    let last = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > last {
            return Err(DemoFault::Stuck(what));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn introduce(screen: &mut Screen, world: &World, proxy: &Proxy) {
    screen.heading("Tasrih: the case of January 2023, played on this machine");
    screen.say("A visa contractor's cameras send frames abroad. What is declared passes; everything is put on record.");
    screen.say("");
    screen.say(format_args!("proxy      http://{} (process {}: `tasrih run`)", proxy.address, proxy.id()));
    screen.say("recipients five on this machine, four of them over TLS; each counts what reaches it");
    screen.say(format_args!(
        "records    {}{}",
        world.state.display(),
        if world.keeps_state { "" } else { " (gone when the demo ends)" }
    ));
}

/// Two lines to try: the first is permitted however often it is sent, the second never.
fn invite(screen: &mut Screen, world: &World, proxy: &Proxy) {
    let line = |host: &str| {
        format!(
            "curl -i -x http://{} --cacert {} -H 'content-type: image/jpeg' --data-binary @{} {}",
            proxy.address,
            world.authority().display(),
            world.frame().display(),
            world.site(host).url("/cctv/desk")
        )
    };
    screen.heading("The proxy goes on until Ctrl-C. From another terminal, a frame that may leave:");
    screen.say(line(MINISTRY_A));
    screen.heading("and one that may not:");
    screen.say(line(MINISTRY_B));
    screen.heading("What is sent from now on:");
}
