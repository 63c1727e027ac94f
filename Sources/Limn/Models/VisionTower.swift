// The vision tower of CLIP or SigLIP: an image in, hidden states of its patches out.
//
// What is worth knowing:
// - the patch embedding is a convolution whose stride equals its size: a matrix product over flattened patches
// - positions are learned, one per patch, preceded by one for CLIP's class token
// - SigLIP has no class token and no norm before the blocks, but its convolution has a bias
// - LLaVA reads the hidden states before the last block (vision_feature_layer −2), without the final norm; blocks after
//   the last one that is read are never run
//
// CLIP: https://arxiv.org/abs/2103.00020, SigLIP: https://arxiv.org/abs/2303.15343

import LimnFiles
import LimnCore
import LimnTensor

struct VisionTower: Sendable {
  let config: VisionConfig
  /// Indices of the hidden states that make up an image's features: 0 is the input of the first block, k the output of
  /// block k.
  let featureLayers: [Int]
  let keepsClassToken: Bool

  private let patchEmbedding: Linear  // [hidden, 3 · patch · patch], patch_embedding
  private let classEmbedding: Vector?  // [hidden]
  private let positions: Vector  // [tokens, hidden]
  private let preNorm: LayerNorm?  // pre_layrnorm (sic)
  private let blocks: [VisionBlock]

  /// Patches along one side.
  var patchesPerSide: Int { config.patchesPerSide }
  /// Feature rows per tile.
  var featureCount: Int { keepsClassToken ? rows : rows - 1 }
  /// Width of a feature row, in which several layers may be concatenated.
  var featureWidth: Int { config.hidden * featureLayers.count }

  /// The rows that pass through the blocks: the patches and the class token.
  var rows: Int { patchesPerSide * patchesPerSide + (config.hasClassToken ? 1 : 0) }
  /// The stages of one tile: the embedding, then one per block.
  var stages: Int { blocks.count + 1 }

  /// Computes one stage of a tile: x [rows, hidden] becomes the hidden states after it. If the features include these,
  /// they are also copied to features [featureCount, featureWidth].
  /// - Parameters:
  ///   - stage: 0 for the patch embedding, k for block k.
  ///   - pixels: [3, side, side], read only by stage 0.
  func forward(
    stage: Int, _ pixels: UnsafeBufferPointer<Float>, _ x: Activations, into features: Activations, _ step: Step
  ) {
    if stage == 0 {
      step.scratch.frame { embed(pixels, into: x, step) }
      preNorm?.forward(x, into: x, step)
    } else {
      blocks[stage - 1].forward(x, step)
    }
    for (place, layer) in featureLayers.enumerated() where layer == stage {
      step.backend.copy(
        x.rows(x.rows - features.rows..<x.rows), into: features, column: place * config.hidden)
    }
  }

  /// x = [class; patches · weightᵀ + bias] + positions; x [rows, hidden].
  private func embed(_ pixels: UnsafeBufferPointer<Float>, into x: Activations, _ step: Step) {
    let patches = step.scratch.take(
      rows: patchesPerSide * patchesPerSide, width: 3 * config.patchSize * config.patchSize)
    step.backend.patches(pixels, side: config.imageSize, patch: config.patchSize, into: patches)
    step.linear(patches, patchEmbedding, into: x.rows(x.rows - patches.rows..<x.rows))
    if let classEmbedding { step.backend.copy(classEmbedding.rows(width: config.hidden), into: x.rows(0..<1)) }
    step.backend.add(positions.rows(width: config.hidden), into: x)
  }
}

/// x += attention(norm1(x)); x += mlp(norm2(x)).
struct VisionBlock: Sendable {
  let norm1: LayerNorm  // layer_norm1
  let q, k, v, out: Linear  // self_attn.{q,k,v,out}_proj, each [hidden, hidden]
  let norm2: LayerNorm  // layer_norm2
  let mlp: MLP
  let heads: Int

  func forward(_ x: Activations, _ step: Step) {
    step.scratch.frame {
      let backend = step.backend
      func rows() -> Activations { step.scratch.take(rows: x.rows, width: x.width) }
      let (normed, queries, keys, values) = (rows(), rows(), rows(), rows())
      norm1.forward(x, into: normed, step)
      step.linear(normed, q, into: queries)
      step.linear(normed, k, into: keys)
      step.linear(normed, v, into: values)
      let scale = 1 / Float(x.width / heads).squareRoot()
      backend.fullAttention(q: queries, k: keys, v: values, heads: heads, scale: scale, into: normed)
      step.linear(normed, out, into: x, adding: true)
      norm2.forward(x, into: normed, step)
      mlp.forward(normed, into: x, adding: true, step)
    }
  }
}

// MARK: Loading

extension VisionTower {
  /// - Parameter featureLayers: as in configs; negative ones count from the end of the hidden states.
  init(
    _ config: VisionConfig, featureLayers: [Int], keepsClassToken: Bool, _ weights: inout WeightReader
  ) throws(LimnError) {
    var resolved: [Int] = []
    for layer in featureLayers {
      let index = layer < 0 ? config.layers + 1 + layer : layer
      guard (0...config.layers).contains(index) else {
        throw .badData(
          "vision_feature_layer \(layer) does not exist", in: weights.checkpoint.reference,
          expected: "−\(config.layers + 1)…\(config.layers)")
      }
      resolved.append(index)
    }
    self.config = config
    self.featureLayers = resolved
    self.keepsClassToken = keepsClassToken
    let (hidden, patch) = (config.hidden, config.patchSize)
    let side = config.patchesPerSide
    let embeddings = "vision_tower.embeddings."
    let convolution = try weights.tensor(
      embeddings + "patch_embedding.weight", shape: [hidden, 3, patch, patch])
    let bias = embeddings + "patch_embedding.bias"
    patchEmbedding = Linear(
      weight: try weights.backend.place(convolution),
      bias: weights.has(bias) ? try weights.vector(bias, count: hidden) : nil)
    classEmbedding =
      config.hasClassToken ? try weights.vector(embeddings + "class_embedding", count: hidden) : nil
    positions = try weights.values(
      embeddings + "position_embedding.weight",
      shape: [side * side + (config.hasClassToken ? 1 : 0), hidden])
    preNorm =
      config.hasPreNorm
      ? try weights.layerNorm("vision_tower.pre_layrnorm", width: hidden, epsilon: config.epsilon) : nil
    var blocks: [VisionBlock] = []
    for index in 0..<(resolved.max() ?? 0) {
      blocks.append(try VisionBlock("vision_tower.encoder.layers.\(index)", config, &weights))
    }
    self.blocks = blocks
  }
}

extension VisionBlock {
  init(_ prefix: String, _ config: VisionConfig, _ weights: inout WeightReader) throws(LimnError) {
    let (hidden, epsilon) = (config.hidden, config.epsilon)
    norm1 = try weights.layerNorm(prefix + ".layer_norm1", width: hidden, epsilon: epsilon)
    q = try weights.linear(prefix + ".self_attn.q_proj", outputs: hidden, inputs: hidden)
    k = try weights.linear(prefix + ".self_attn.k_proj", outputs: hidden, inputs: hidden)
    v = try weights.linear(prefix + ".self_attn.v_proj", outputs: hidden, inputs: hidden)
    out = try weights.linear(prefix + ".self_attn.out_proj", outputs: hidden, inputs: hidden)
    norm2 = try weights.layerNorm(prefix + ".layer_norm2", width: hidden, epsilon: epsilon)
    mlp = MLP(
      fc1: try weights.linear(prefix + ".mlp.fc1", outputs: config.ffn, inputs: hidden),
      fc2: try weights.linear(prefix + ".mlp.fc2", outputs: hidden, inputs: config.ffn),
      activation: config.activation)
    heads = config.heads
  }
}
