//! The scheduler's and the kubelets' work with pods.

use super::kubelet::{self, Death, Place, Stage};
use super::parts::{has_ended, set_condition};
use super::*;
use crate::sandbox::origin::text_of;

/// Pods that have ended and are nobody's business any more, kept for people to look at.
const ENDED_KEPT: usize = 6;
/// Images that are known to be on nodes, before it is forgotten: a bound.
const PULLED: usize = 4096;

impl Controllers {
    pub(super) fn pod_seen(&mut self, seen: Seen, now: Timestamp) {
        let Some(pod) = seen.after else {
            self.homeless.remove(&seen.key);
            self.stages.remove(&seen.key);
            // Its room is free.
            self.schedule |= !self.homeless.is_empty();
            return;
        };
        if pod.text("/spec/nodeName").is_empty() && !pod.is_terminating() && !has_ended(&pod) {
            self.schedule |= self.homeless.insert(seen.key, String::new()).is_none();
            return;
        }
        self.homeless.remove(&seen.key);
        self.consider(&seen.key, &pod, now);
    }

    /// Sets the timer of a pod's next step, and says what begins.
    fn consider(&mut self, key: &Arc<str>, pod: &Object, now: Timestamp) {
        let node = pod.text("/spec/nodeName");
        if self.silent.contains(node) || self.nodes.get(node).is_none() {
            self.stages.remove(key);
            return;
        }
        let stage = kubelet::stage(pod);
        let uid: Arc<str> = pod.uid().into();
        let running = self.stages.get(key);
        if running.is_some_and(|(of, at)| *of == uid && *at == stage) {
            return;
        }
        let Some(lasts) = kubelet::lasts(stage, pod) else {
            self.stages.remove(key);
            return;
        };
        self.stages.insert(key.clone(), (uid.clone(), stage));
        let pulled = |image: &str| self.pulled.contains(&(node.to_owned(), image.to_owned()));
        for said in kubelet::said_at(stage, pod, &pulled) {
            self.recorder.say(pod, KUBELET, node, &said);
        }
        let at = now + self.delay(lasts);
        self.timers.insert((at, Due::Pod(key.clone(), uid)));
    }

    pub(super) fn reconsider_pods_of(&mut self, node: &str, now: Timestamp) {
        for (key, pod) in self.pods_of(node) {
            self.stages.remove(&key);
            self.consider(&key, &pod, now);
        }
    }

    pub(super) fn pods_of(&self, node: &str) -> Vec<(Arc<str>, Arc<Object>)> {
        let here = self.pods.all().filter(|(_, p)| p.text("/spec/nodeName") == node);
        here.map(|(k, p)| (k.clone(), p.clone())).collect()
    }

    pub(super) fn pod_due(&mut self, key: &Arc<str>, uid: &Arc<str>, now: Timestamp) {
        let Some(pod) = self.pods.get(key).cloned().filter(|p| p.uid() == &**uid) else { return };
        let stage = kubelet::stage(&pod);
        let node = pod.text("/spec/nodeName");
        // Another timer runs for the stage it is in now; a silent node's kubelet does nothing.
        if self.stages.get(key).is_none_or(|(of, at)| of != uid || *at != stage) || self.silent.contains(node) {
            return;
        }
        self.stages.remove(key);
        if stage == Stage::Terminating {
            let gone = Deletion { uid: Some(pod.uid().to_owned()), ..Deletion::now() };
            return heard(self.state.delete(PODS, pod.namespace(), pod.name(), &gone), &pod);
        }
        let (status, said) = {
            self.addresses = self.addresses.wrapping_add(1);
            let host = self.nodes.get(node).map(|n| n.text("/status/addresses/0/address")).unwrap_or_default();
            let place = Place {
                now,
                host_ip: host,
                pod_ip: pod_ip(node, self.addresses),
                took: self.chance.random_range(180..2400),
                pulled: &|image| self.pulled.contains(&(node.to_owned(), image.to_owned())),
            };
            let Some(next) = kubelet::advance(&pod, stage, &place) else { return };
            next
        };
        if self.pulled.len() > PULLED {
            self.pulled.clear();
        }
        if stage == Stage::Creating {
            self.pulled.extend(kubelet::images(&pod).map(|image| (node.to_owned(), image.to_owned())));
        }
        self.report(&pod, status, &said);
    }

    fn report(&mut self, pod: &Object, status: Value, said: &[Said]) {
        if self.write_status(PODS, pod, status, "kubelet") {
            let host = pod.text("/spec/nodeName").to_owned();
            said.iter().for_each(|said| self.recorder.say(pod, KUBELET, &host, said));
        }
    }

    /// Finds nodes for the pods that have none.
    pub(super) fn schedule_pods(&mut self, now: Timestamp) {
        if self.homeless.is_empty() {
            return;
        }
        let mut occupancy = Occupancy::of(self.pods.all().map(|(_, p)| p));
        let waiting: Vec<Arc<str>> = self.homeless.keys().cloned().collect();
        for key in waiting {
            let Some(pod) = self.pods.get(&key).cloned() else {
                self.homeless.remove(&key);
                continue;
            };
            if pod.text("/spec/schedulerName") != "default-scheduler" {
                continue;
            }
            match scheduler::place(&pod, self.nodes.all().map(|(_, n)| n), &occupancy) {
                Ok(node) => {
                    occupancy.take(node, &pod);
                    let node = node.to_owned();
                    let write = Write::by("kube-scheduler");
                    let bound = self.state.modify(PODS, pod.namespace(), pod.name(), &write, |value| {
                        value["spec"]["nodeName"] = node.as_str().into();
                    });
                    self.homeless.remove(&key);
                    if bound.is_ok() {
                        let text = format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name());
                        self.recorder.say(&pod, SCHEDULER, "", &Said::normal("Scheduled", text));
                    }
                }
                Err(why) => {
                    if self.homeless.insert(key, why.clone()).is_none_or(|before| before != why) {
                        self.cannot_schedule(&pod, &why, now);
                    }
                }
            }
        }
    }

    fn cannot_schedule(&mut self, pod: &Object, why: &str, now: Timestamp) {
        let mut status = pod.value()["status"].clone();
        set_condition(&mut status, "PodScheduled", "False", "Unschedulable", why, &text_of(now));
        self.write_status(PODS, pod, status, "kube-scheduler");
        self.recorder.say(pod, SCHEDULER, "", &Said::warning("FailedScheduling", why));
    }

    /// Lets a container of a running pod die. `false` where there is none that runs.
    pub fn kill(&mut self, namespace: &str, name: &str, death: Death, now: Timestamp) -> bool {
        let Ok(pod) = self.state.get(PODS, namespace, name) else { return false };
        let before = pod.value().pointer("/status/containerStatuses").cloned();
        let (status, said) = kubelet::die(&pod, death, now);
        if pod.is_terminating() || before.as_ref() == status.get("containerStatuses") {
            return false;
        }
        self.report(&pod, status, &said);
        true
    }

    /// Lets a kubelet evict a pod for want of memory. `false` where it does not run.
    pub fn evict(&mut self, namespace: &str, name: &str, now: Timestamp) -> bool {
        let Ok(pod) = self.state.get(PODS, namespace, name) else { return false };
        if pod.is_terminating() || pod.text("/status/phase") != "Running" {
            return false;
        }
        let (status, said) = kubelet::evict(&pod, now);
        self.report(&pod, status, &[said]);
        true
    }

    /// What pod garbage collection does: pods of nodes that are gone, and the oldest of those that have ended.
    pub(super) fn collect_pods(&mut self) {
        let mut ended = Vec::new();
        let mut gone = Vec::new();
        for (_, pod) in self.pods.all() {
            let node = pod.text("/spec/nodeName");
            if !node.is_empty() && self.nodes.get(node).is_none() {
                gone.push(pod.clone());
            } else if has_ended(pod) && !pod.is_terminating() {
                ended.push(pod.clone());
            }
        }
        ended.sort_by_key(|p| p.revision());
        let surplus = ended.len().saturating_sub(ENDED_KEPT);
        gone.extend(ended.into_iter().take(surplus));
        for pod in gone {
            heard(self.state.delete(PODS, pod.namespace(), pod.name(), &Deletion::now()), &pod);
        }
    }
}

/// An address in the node's own /24 of 10.244.0.0/16.
fn pod_ip(node: &str, number: u32) -> String {
    let subnet = xxhash_rust::xxh3::xxh3_64(node.as_bytes()) % 250;
    format!("10.244.{subnet}.{}", 2 + number % 250)
}
