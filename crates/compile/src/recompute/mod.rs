//! Computes cheap pointwise work again where it is needed, instead of storing it.
//!
//! `a = x·w + b  y = gelu(a)` and, for the gradient, three more values of `a` written beside `y` → `a` and `y` are written, and the
//! gradient's kernel computes the three from `a`. A mask of ReLU follows from its result, one of dropout from the key.
//!
//! For each kernel that stores values, the cheapest cut through the pointwise work between what is in memory anyway and what
//! other kernels need says what to store: what lies behind the cut is computed in the kernels that need it. The price is in
//! bytes of the graph alone. Recomputing gives the same bits, since the same operations see the same operands. Nothing is
//! recomputed where more memory would be alive than before.

mod again;
mod cut;
mod lives;
mod needs;
mod rewrite;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kiln_ir::Op;
use kiln_ir::graph::{Graph, NodeId};

use crate::cluster::{ClusterId, Clustering};
use crate::concat::{ConcatPart, parts};
use crate::invariant::live_out;
use crate::kind::{OpKind, Pointwise, root};
use crate::schedule::schedule;
use crate::target::Target;
use again::{Way, is_rounded, price};
use cut::{FlowNetwork, UNBOUNDED};
use lives::{Life, Lives};
use needs::{ConsumerNeeds, Consumers, Plan, Plans};

/// What costs are counted in: quarters of a byte that is read.
const READ: u64 = 4;
/// A byte that is stored is fetched, written, and takes room from others until it is read, and a product whose result alone is
/// stored finishes in registers.
const STORE: u64 = 4 * READ;

/// The values that each cluster computes anew, in order.
type Copies = HashMap<ClusterId, BTreeSet<NodeId>>;

/// Recomputes what is worth it. Gives how many values are computed again.
pub fn recompute(graph: &mut Graph, clusters: &mut Clustering, target: &Target) -> usize {
    if !target.fusion.recomputes {
        return 0;
    }
    let order = schedule(graph, clusters).order;
    let mut choice = StorageChoice::new(graph, clusters, target, &order);
    order.iter().for_each(|&producer| choice.decide(producer));
    let copies = choice.copies;
    if copies.is_empty() {
        return 0;
    }
    rewrite::rewrite(graph, clusters, (&order, &copies), target);
    clusters.merge_siblings(graph);
    copies.values().map(BTreeSet::len).sum()
}

/// What is stored and read so far.
struct StorageChoice<'a> {
    graph: &'a Graph,
    clusters: &'a mut Clustering,
    target: &'a Target,
    /// The place of each cluster in the order.
    place: Vec<usize>,
    live_out: HashSet<NodeId>,
    /// What others wait for without reading it.
    awaited: HashSet<NodeId>,
    /// The clusters that write each variable, by the variable's address.
    writer: HashMap<usize, ClusterId>,
    /// The other clusters that read each value; none where it needn't be in memory.
    readers: HashMap<NodeId, BTreeSet<ClusterId>>,
    copies: Copies,
    lives: Lives,
    /// Values that are stored as parts of concatenations.
    parts: HashMap<NodeId, ConcatPart>,
}

/// The pointwise work above what consumers need, down to what is in memory.
struct RecomputeRegion {
    /// Users before operands.
    nodes: Vec<NodeId>,
    index: HashMap<NodeId, usize>,
    /// For each node the operands whose values it is computed from; none where it can only be read.
    operands: Vec<Option<Vec<NodeId>>>,
}

impl<'a> StorageChoice<'a> {
    fn new(
        graph: &'a Graph,
        clusters: &'a mut Clustering,
        target: &'a Target,
        order: &[ClusterId],
    ) -> StorageChoice<'a> {
        let mut place = vec![0; clusters.clusters.len()];
        order.iter().enumerate().for_each(|(position, &cluster)| place[cluster] = position);
        let mut readers: HashMap<NodeId, BTreeSet<ClusterId>> = HashMap::new();
        let mut awaited = HashSet::new();
        for (&id, &cluster) in &clusters.cluster_of {
            let node = &graph.nodes[id];
            let operands = node.operands().len();
            for (position, &input) in node.inputs.iter().enumerate() {
                let origin = root(graph, input);
                if clusters.cluster_of.get(&origin) == Some(&cluster) {
                    continue;
                }
                if position < operands {
                    readers.entry(origin).or_default().insert(cluster);
                } else {
                    awaited.insert(origin);
                }
            }
        }
        let writer = graph.updates.iter().map(|(variable, id)| (variable.address(), clusters.cluster_of[id]));
        let mut choice = StorageChoice {
            graph,
            target,
            place,
            live_out: live_out(graph),
            awaited,
            writer: writer.collect(),
            readers,
            copies: Copies::new(),
            lives: Lives::new(order.len()),
            parts: parts(graph, &clusters.cluster_of),
            clusters,
        };
        for (&id, readers) in &choice.readers {
            if let Some(life) = choice.life(id, readers) {
                choice.lives.add(id, life);
            }
        }
        choice
    }

    /// The places between which a value that these clusters read takes memory of the arena, and how much.
    fn life(&self, id: NodeId, readers: &BTreeSet<ClusterId>) -> Option<Life> {
        let cluster = *self.clusters.cluster_of.get(&id).filter(|_| !self.live_out.contains(&id))?;
        // A concatenation is there from its first part on, and its parts are where it is.
        let parts = self.graph.nodes[id].inputs.iter();
        let parts = parts.filter(|part| self.parts.get(part).is_some_and(|part| part.whole == id));
        let first = parts.filter_map(|part| self.clusters.cluster_of.get(part)).chain([&cluster]);
        let first = first.map(|&cluster| self.place[cluster]).min()?;
        let last = readers.iter().map(|&reader| self.place[reader]).max()?;
        let last = if self.clusters.clusters[cluster].hoisted { self.lives.places() - 1 } else { last };
        let placed = readers.len() < 2 && self.parts.contains_key(&id);
        let bytes = if placed { 0 } else { self.bytes(id) as i64 };
        Some(Life { first: first.min(last), last, bytes })
    }

    fn bytes(&self, id: NodeId) -> u64 {
        (self.graph.nodes[id].shape.elements() * self.graph.nodes[id].dtype.size()) as u64
    }

    /// Decides what a cluster stores: first among all there is, then among what is alive anyway.
    fn decide(&mut self, producer: ClusterId) {
        for longer in [true, false] {
            let mut consumers = self.consumers(producer);
            while !consumers.is_empty() {
                let region = self.region(producer, &consumers);
                let plans = self.plans(producer, &consumers, &region, longer);
                let Some(plans) = plans.filter(|plans| self.is_better(producer, &consumers, plans)) else {
                    break;
                };
                let broken = plans.iter().find(|(consumer, plan)| !self.may_run(**consumer, plan));
                let broken = broken.map(|(&consumer, _)| consumer);
                match broken {
                    Some(consumer) => {
                        consumers.remove(&consumer);
                    }
                    None if self.accept(producer, &consumers, plans) => return,
                    None => break,
                }
            }
        }
    }

    /// The clusters that read large values of this one in pointwise work or folds, and what they need of it.
    fn consumers(&self, producer: ClusterId) -> Consumers {
        let mut consumers = Consumers::new();
        let cluster = &self.clusters.clusters[producer];
        if cluster.hoisted || !cluster.open {
            return consumers;
        }
        for &id in &cluster.members {
            for &reader in self.readers.get(&id).into_iter().flatten() {
                let needs = consumers.entry(reader).or_default();
                if self.is_fixed(id, reader) { &mut needs.fixed } else { &mut needs.fused }.insert(id);
            }
        }
        let large = |id: &NodeId| {
            let node = &self.graph.nodes[*id];
            node.shape.elements() >= self.target.fusion.worth_sharing
                && matches!(node.kind(), OpKind::Pointwise(_))
        };
        consumers.retain(|_, needs| needs.fused.iter().any(large));
        consumers
    }

    /// Whether a cluster needs a value in memory: as the operand of a product or of an operation of its own, or in part.
    fn is_fixed(&self, id: NodeId, reader: ClusterId) -> bool {
        let graph = self.graph;
        self.clusters.clusters[reader].members.iter().any(|&member| {
            let node = &graph.nodes[member];
            let mut read = node.operands().iter().filter(|&&operand| root(graph, operand) == id);
            match node.kind() {
                OpKind::Pointwise(_) | OpKind::Reduce(..) => {
                    read.any(|&operand| Way::of(graph, operand).slices)
                }
                OpKind::Contraction(_) | OpKind::Opaque(_) => read.next().is_some(),
                OpKind::Leaf(_) | OpKind::Generator(_) | OpKind::Movement(_) => false,
            }
        })
    }

    fn region(&self, producer: ClusterId, consumers: &Consumers) -> RecomputeRegion {
        let mut ahead: BTreeSet<NodeId> =
            consumers.values().flat_map(|needs| needs.fused.iter().copied()).collect();
        let mut region = RecomputeRegion::new();
        while let Some(id) = ahead.pop_last() {
            let operands = self.recomputable(producer, id);
            ahead.extend(operands.iter().flatten());
            region.insert(id, operands);
        }
        region
    }

    /// What a value is computed from, if it can be computed again with the same bits where it is needed.
    fn recomputable(&self, producer: ClusterId, id: NodeId) -> Option<Vec<NodeId>> {
        let graph = self.graph;
        let node = &graph.nodes[id];
        let OpKind::Pointwise(pointwise) = node.kind() else { return None };
        if pointwise == Pointwise::Identity || !is_rounded(graph, id) || !self.is_inside(producer, id) {
            return None;
        }
        let mut operands = Vec::new();
        for &operand in node.operands() {
            let (origin, way) = (root(graph, operand), Way::of(graph, operand));
            if matches!(graph.nodes[origin].kind(), OpKind::Generator(_)) {
                continue;
            }
            let fits = match self.is_inside(producer, origin) {
                true => !way.slices && !way.repeats && is_rounded(graph, origin),
                // It would be read across its order once more.
                false => !way.permutes,
            };
            if !fits {
                return None;
            }
            operands.push(origin);
        }
        Some(operands)
    }

    /// Whether a value is computed by this cluster, or nowhere in memory.
    fn is_inside(&self, producer: ClusterId, id: NodeId) -> bool {
        match self.clusters.cluster_of.get(&id) {
            Some(&cluster) => cluster == producer || !self.is_stored(id),
            None => false,
        }
    }

    fn is_stored(&self, id: NodeId) -> bool {
        self.readers.contains_key(&id) || self.live_out.contains(&id)
    }

    /// Whether a value of the producer is stored whatever these consumers do.
    fn is_kept(&self, consumers: &Consumers, id: NodeId) -> bool {
        let otherwise =
            |reader: &ClusterId| consumers.get(reader).is_none_or(|needs| !needs.fused.contains(&id));
        self.live_out.contains(&id) || self.readers.get(&id).into_iter().flatten().any(otherwise)
    }

    /// Whether a consumer reads a value whatever it computes anew.
    fn is_read(&self, consumer: ClusterId, needs: &ConsumerNeeds, id: NodeId) -> bool {
        !needs.fused.contains(&id) && self.readers.get(&id).is_some_and(|readers| readers.contains(&consumer))
    }

    /// What each consumer reads and computes at the cheapest cut. `None`: there is no cut.
    fn plans(
        &self,
        producer: ClusterId,
        consumers: &Consumers,
        region: &RecomputeRegion,
        longer: bool,
    ) -> Option<Plans> {
        let reached: Vec<(ClusterId, Vec<bool>)> =
            consumers.iter().map(|(&consumer, needs)| (consumer, region.reached(&needs.fused))).collect();
        let count = region.nodes.len();
        let (source, sink) = (2 * count, 2 * count + 1);
        let mut network = FlowNetwork::new(2 * count + 2);
        for (position, &id) in region.nodes.iter().enumerate() {
            let users = || reached.iter().filter(|(_, reached)| reached[position]).map(|(user, _)| *user);
            let reads = users().filter(|user| !self.is_read(*user, &consumers[user], id));
            let mut load = READ * self.bytes(id) * reads.clone().count() as u64;
            if self.clusters.cluster_of.get(&id) == Some(&producer) {
                if !self.is_kept(consumers, id) {
                    load += STORE * self.bytes(id);
                }
            } else if self.is_inside(producer, id)
                || (!longer && reads.clone().any(|user| self.extends(id, user)))
            {
                load = UNBOUNDED;
            }
            network.edge(2 * position, 2 * position + 1, load);
            match &region.operands[position] {
                Some(operands) => {
                    network.edge(source, 2 * position, self.price(id) * users().count() as u64);
                    for operand in operands {
                        network.edge(2 * region.index[operand] + 1, 2 * position, UNBOUNDED);
                    }
                }
                None => network.edge(source, 2 * position, UNBOUNDED),
            }
        }
        for id in consumers.values().flat_map(|needs| &needs.fused).collect::<BTreeSet<_>>() {
            network.edge(2 * region.index[id] + 1, sink, UNBOUNDED);
        }
        let behind = network.cut(source, sink);
        let mut plans = Plans::new();
        for (&consumer, needs) in consumers {
            let plan = plans.entry(consumer).or_default();
            let mut ahead: BTreeSet<NodeId> = needs.fused.clone();
            while let Some(id) = ahead.pop_last() {
                let position = region.index[&id];
                let cut = !behind[2 * position] && behind[2 * position + 1];
                if cut || self.is_read(consumer, needs, id) {
                    plan.loads.insert(id);
                } else {
                    ahead.extend(region.operands[position].as_ref()?);
                    plan.copies.insert(id);
                }
            }
        }
        Some(plans)
    }

    /// Whether a value would have to stay in memory longer for this reader.
    fn extends(&self, id: NodeId, reader: ClusterId) -> bool {
        let readers = self.readers.get(&id);
        self.life(id, readers.unwrap_or(&BTreeSet::new())).is_some_and(|life| life.last < self.place[reader])
    }

    fn price(&self, id: NodeId) -> u64 {
        let node = &self.graph.nodes[id];
        let OpKind::Pointwise(pointwise) = node.kind() else { return UNBOUNDED };
        price(pointwise) * node.shape.elements() as u64
    }

    /// Whether it costs less than what is stored and read now.
    fn is_better(&self, producer: ClusterId, consumers: &Consumers, plans: &Plans) -> bool {
        let cost = |plans: &Plans| {
            let mut stored = BTreeSet::new();
            let mut cost = 0;
            for (consumer, plan) in plans {
                let needs = &consumers[consumer];
                for &id in &plan.loads {
                    if !self.is_read(*consumer, needs, id) {
                        cost += READ * self.bytes(id);
                    }
                    let own = self.clusters.cluster_of.get(&id) == Some(&producer);
                    if own && !self.is_kept(consumers, id) && stored.insert(id) {
                        cost += STORE * self.bytes(id);
                    }
                }
                cost += plan.copies.iter().map(|&id| self.price(id)).sum::<u64>();
            }
            cost
        };
        let now = |needs: &ConsumerNeeds| Plan { loads: needs.fused.clone(), copies: BTreeSet::new() };
        let before = consumers.iter().map(|(&consumer, needs)| (consumer, now(needs))).collect();
        cost(plans) < cost(&before)
    }

    /// Whether a consumer may do as planned: in one kernel, before what it reads is overwritten.
    fn may_run(&mut self, consumer: ClusterId, plan: &Plan) -> bool {
        if plan.copies.is_empty() {
            return true;
        }
        for id in &plan.loads {
            if let Op::Var(variable) = &self.graph.nodes[*id].op
                && let Some(&writer) = self.writer.get(&variable.address())
                && writer != consumer
                && self.clusters.order.reaches(writer, &[consumer])
            {
                return false;
            }
        }
        let mut copies = self.copies.get(&consumer).cloned().unwrap_or_default();
        copies.extend(&plan.copies);
        let members = &self.clusters.clusters[consumer].members;
        let stored = members.iter().copied().filter(|&id| self.is_stored(id)).collect();
        members.len() + copies.len() <= self.target.fusion.most_members
            && rewrite::is_kernel(
                self.graph,
                self.clusters,
                (consumer, members, &copies),
                &stored,
                self.target,
            )
    }

    /// Takes the plans, unless more memory would be alive or the producer would fall apart.
    fn accept(&mut self, producer: ClusterId, consumers: &Consumers, plans: Plans) -> bool {
        let mut changed: BTreeMap<NodeId, BTreeSet<ClusterId>> = BTreeMap::new();
        for (&consumer, plan) in &plans {
            let needed = consumers[&consumer].fused.iter();
            for (&id, reads) in needed.map(|id| (id, false)).chain(plan.loads.iter().map(|id| (id, true))) {
                let readers =
                    changed.entry(id).or_insert_with(|| self.readers.get(&id).cloned().unwrap_or_default());
                if reads {
                    readers.insert(consumer)
                } else {
                    readers.remove(&consumer)
                };
            }
        }
        let members = &self.clusters.clusters[producer].members;
        let read = |id: &NodeId| match changed.get(id) {
            Some(readers) => !readers.is_empty(),
            None => self.readers.contains_key(id),
        };
        let stored: BTreeSet<NodeId> =
            members.iter().copied().filter(|id| read(id) || self.live_out.contains(id)).collect();
        let alive = self.alive(producer, &stored);
        let none = BTreeSet::new();
        let own = self.copies.get(&producer).unwrap_or(&none);
        if !rewrite::is_kernel(self.graph, self.clusters, (producer, &alive, own), &stored, self.target) {
            return false;
        }
        let lives: Vec<_> = changed.iter().map(|(&id, readers)| (id, self.life(id, readers))).collect();
        if !self.lives.change(&lives) {
            return false;
        }
        for (id, readers) in changed {
            match readers.is_empty() {
                true => self.readers.remove(&id),
                false => self.readers.insert(id, readers),
            };
        }
        for (consumer, plan) in plans {
            if !plan.copies.is_empty() {
                self.copies.entry(consumer).or_default().extend(plan.copies);
            }
        }
        true
    }

    /// The members of a cluster that these of its values are computed from, or that others wait for.
    fn alive(&self, cluster: ClusterId, stored: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let mut alive = BTreeSet::new();
        let members = &self.clusters.clusters[cluster].members;
        for &id in members.iter().rev() {
            if alive.contains(&id) || stored.contains(&id) || self.awaited.contains(&id) {
                alive.insert(id);
                alive
                    .extend(self.graph.nodes[id].operands().iter().map(|&operand| root(self.graph, operand)));
            }
        }
        members.iter().copied().filter(|id| alive.contains(id)).collect()
    }
}

impl RecomputeRegion {
    fn new() -> RecomputeRegion {
        RecomputeRegion { nodes: Vec::new(), index: HashMap::new(), operands: Vec::new() }
    }

    fn insert(&mut self, id: NodeId, operands: Option<Vec<NodeId>>) {
        self.index.insert(id, self.nodes.len());
        self.nodes.push(id);
        self.operands.push(operands);
    }

    /// For each node, whether one of these might be computed from it.
    fn reached(&self, needed: &BTreeSet<NodeId>) -> Vec<bool> {
        let mut reached = vec![false; self.nodes.len()];
        needed.iter().for_each(|id| reached[self.index[id]] = true);
        for position in 0..self.nodes.len() {
            if reached[position] {
                for operand in self.operands[position].iter().flatten() {
                    reached[self.index[operand]] = true;
                }
            }
        }
        reached
    }
}
