//! What is drawn of a model: the nodes, clusters and edges of Keras's `model_to_dot`.

use super::PlotModel;
use keras_core::Result;
use keras_core::layers::LayerRef;
use keras_core::models::{Model, Network};
use std::collections::{HashMap, HashSet};

/// The graph of a model's layers.
#[derive(Debug, Default)]
pub(super) struct ModelGraph {
    pub(super) name: String,
    pub(super) nodes: Vec<Node>,
    pub(super) clusters: Vec<Cluster>,
    pub(super) edges: Vec<Edge>,
}

/// A layer.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) label: String,
    /// Of its inputs and of its outputs.
    pub(super) shapes: Option<[String; 2]>,
    /// The nested model that it belongs to.
    pub(super) cluster: Option<usize>,
}

/// A nested model that is drawn with its layers.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) name: String,
    /// The one that it belongs to itself.
    pub(super) cluster: Option<usize>,
}

/// From node to node; there is one for each time that a layer reads another.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The nested model in which that happens.
    pub(super) cluster: Option<usize>,
}

/// The nodes that stand for a layer: where edges to it end, where those from it begin.
#[derive(Clone, Copy)]
struct Ends {
    first: usize,
    last: usize,
    /// A nested model: several calls on the same results are one edge.
    once: bool,
}

impl ModelGraph {
    pub(super) fn of(model: &Model, options: &PlotModel) -> Result<Self> {
        let layer =
            model.as_layer().map_err(|error| error.within(format!("plot of model {}", model.name())))?;
        let mut graph = Self { name: model.name().to_owned(), ..Self::default() };
        if let Some(network) = layer.downcast::<Network>() {
            graph.add(network, None, options);
        }
        Ok(graph)
    }

    /// Adds the layers of a model, and gives the nodes that stand for the whole: the first and the last of its own.
    fn add(
        &mut self,
        network: &Network,
        cluster: Option<usize>,
        options: &PlotModel,
    ) -> Option<(usize, usize)> {
        let mut ends: HashMap<u64, Ends> = HashMap::new();
        let mut own = Vec::new();
        let mut nested = Vec::new();
        for layer in network.layers() {
            let wrapped = Wrapped::of(layer);
            let inner = wrapped.as_ref().and_then(|wrapped| wrapped.model.clone());
            let expanded = if layer.downcast::<Network>().is_some() { Some(layer.clone()) } else { inner };
            let expanded = expanded.filter(|_| options.expand_nested);
            let inside = expanded.as_ref().and_then(|model| {
                self.clusters.push(Cluster { name: model.name().to_owned(), cluster });
                let inside = Some(self.clusters.len() - 1);
                model.downcast::<Network>().and_then(|network| self.add(network, inside, options))
            });
            if let (Some((first, last)), None) = (inside, &wrapped) {
                nested.push((first, last));
                ends.insert(layer.id(), Ends { first, last, once: true });
                continue;
            }
            let wrapped = wrapped.filter(|_| inside.is_none());
            let node = self.nodes.len();
            own.push(node);
            self.nodes.push(Node {
                label: label(layer, wrapped, options),
                shapes: shapes(layer, options),
                cluster,
            });
            let last = inside.map_or(node, |(first, last)| {
                self.edges.push(Edge { from: node, to: first, cluster });
                last
            });
            ends.insert(layer.id(), Ends { first: node, last, once: false });
        }
        let mut known = HashSet::new();
        for connection in network.connections() {
            let Some(&to) = ends.get(&connection.layer.id()) else { continue };
            for source in &connection.sources {
                let Some(&from) = ends.get(&source.id()) else { continue };
                let repeats = !known.insert((from.last, to.first));
                if !(repeats && (from.once || to.once || from.first != from.last)) {
                    self.edges.push(Edge { from: from.last, to: to.first, cluster });
                }
            }
        }
        let whole = own.first().copied().zip(own.last().copied());
        whole.or_else(|| Some((nested.first()?.0, nested.last()?.1)))
    }
}

/// The layer in a wrapper, by the wrapper's config, as wrappers of users have one too.
struct Wrapped {
    name: String,
    class_name: String,
    /// If it is a model.
    model: Option<LayerRef>,
}

impl Wrapped {
    fn of(layer: &LayerRef) -> Option<Self> {
        if layer.downcast::<Network>().is_some() {
            return None;
        }
        let config = layer.definition().config();
        let inner = config.config.get("layer")?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        Some(Self {
            name: text(inner.get("config")?.get("name")?)?,
            class_name: text(inner.get("class_name")?)?,
            model: layer.children().into_iter().find(|child| child.downcast::<Network>().is_some()),
        })
    }
}

fn label(layer: &LayerRef, wrapped: Option<Wrapped>, options: &PlotModel) -> String {
    let (mut name, mut class_name) = (layer.name().to_owned(), layer.class_name());
    if let Some(wrapped) = wrapped {
        name = format!("{name}({})", wrapped.name);
        class_name = format!("{class_name}({})", wrapped.class_name);
    }
    if options.show_layer_names { format!("{name}: {class_name}") } else { class_name }
}

fn shapes(layer: &LayerRef, options: &PlotModel) -> Option<[String; 2]> {
    options.show_shapes.then(|| [layer.input_shape_text(), layer.output_shape_text()])
}
