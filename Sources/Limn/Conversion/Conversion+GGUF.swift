import Foundation
package import LimnFiles
import LimnImage
package import LimnCore
import LimnTensor
import LimnText

extension Conversion {
  /// A GGUF pair: the language model and, if the model has vision, the projector file with the vision tower.
  /// - Parameters:
  ///   - output: a folder, or the language model's file, which ends in .gguf.
  ///   - vision: the type of the projector file.
  /// - Throws: bad data for anything that GGUF cannot express.
  package static func gguf(
    _ location: ModelLocation, format: GGUFMix, vision: GGUFMix, output: String
  ) throws(LimnError) -> Conversion {
    let location = try location.resolved()
    let checkpoint = try source(location)
    let paths = GGUFPaths(checkpoint.name, format, vision, output)
    if checkpoint.layout == .gguf {
      return try gguf(try GGUFPair(location), format, vision, paths)
    }
    var conversion = Conversion()
    try conversion.addLanguage(checkpoint, format, paths)
    if let tower = checkpoint.config.vision { try conversion.addProjector(checkpoint, tower, vision, paths) }
    if checkpoint.weights.values.contains(where: \.isQuantized), format.isQuantized {
      conversion.notes.append(quantizedTwice)
    }
    return conversion
  }

  /// The model to convert, after checking that all its tensors are there and fit its config.
  static func source(_ location: ModelLocation) throws(LimnError) -> Checkpoint {
    let parts = try ModelParts(location, steps: [.files, .weights], for: .checking)
    return try parts.require(parts.checkpoint)
  }

  private static let quantizedTwice =
    "the weights were quantised already: quantising them again loses more than doing it once, from the original"

  // MARK: From other layouts

  private mutating func addLanguage(
    _ checkpoint: Checkpoint, _ format: GGUFMix, _ paths: GGUFPaths
  ) throws(LimnError) {
    let language = checkpoint.config.language
    let names = GGUFNames(writing: language)
    let rows = try checkpoint.weight(named: "language_model.embed_tokens.weight").shape[0]
    let tokenizer = try TokenizerExport(
      try Tokenizer(checkpoint.tokenizer), rows: rows, place: checkpoint.reference)
    var metadata = general(language.ggufArchitecture, tokenizer.ggufName(paths.name), format)
    metadata += language.ggufMetadata
    metadata += tokenizer.ggufMetadata
    if let template = try ChatTemplate.find(in: checkpoint.tokenizer) {
      metadata.append(("tokenizer.chat_template", .string(template.source)))
    }
    notes += tokenizer.notes
    if language.slidingWindow != nil, language.architecture == .mistral {
      notes.append("llama.cpp ignores the sliding window: beyond it answers differ there")
    }

    if case .dynamic = language.ropeScaling {
      notes.append("only limn opens this model: llama.cpp has no RoPE that grows with the length")
    }

    var tensors = try Self.ropeTensors(language)
    let model = GGUFMix.Model(
      layers: language.layers, headGroups: language.heads / language.kvHeads, isTied: language.tiedEmbeddings)
    let permutes = language.architecture == .llama || language.architecture == .mistral
    for (canonical, source) in checkpoint.weights where !Self.isVision(canonical) {
      guard let name = names.fileName(of: canonical) else { throw Self.noPlace(canonical, checkpoint) }
      let type = format.type(of: name, shape: source.shape, in: model)
      let order =
        permutes && !language.ropeAdjacent
        ? HeadOrder.order(of: canonical, language, HeadOrder.neighbours) : nil
      tensors.append(try OutputTensor(name, source, as: type, order: order))
    }
    try addFile(paths.language, metadata, tensors)
  }

  /// The divisors of RoPE frequencies, which GGUF stores as tensors.
  private static func ropeTensors(_ language: LanguageConfig) throws(LimnError) -> [OutputTensor] {
    switch language.ropeScaling {
    case .llama3:
      return [try OutputTensor("rope_freqs.weight", values: RoPE.llama3Divisors(language), as: .f32)]
    case .longrope(let short, let long, _, _):
      return [
        try OutputTensor("rope_factors_long.weight", values: long.map(Float.init), as: .f32),
        try OutputTensor("rope_factors_short.weight", values: short.map(Float.init), as: .f32),
      ]
    default: return []
    }
  }

  private mutating func addProjector(
    _ checkpoint: Checkpoint, _ tower: VisionConfig, _ format: GGUFMix, _ paths: GGUFPaths
  ) throws(LimnError) {
    let names = GGUFNames(writing: tower, checkpoint.config.projector)
    let image = try ModelImageProcessor(checkpoint, policy: .trained)
    let processor = image.processor.configuration
    let aspects: [PreprocessPolicy: String] = [.pad: "pad", .crop: "square"]
    var metadata = general("clip", paths.name, format)
    metadata += checkpoint.config.projectorMetadata(
      tower, colours: (processor.mean, processor.std), aspect: aspects[image.policy])
    if !checkpoint.config.suitsLlamaCpp {
      notes.append("only limn opens this projector file: llama.cpp has no projector that computes as this model does")
    }
    let used = checkpoint.config.usedVisionLayers
    var tensors: [OutputTensor] = []
    for (canonical, source) in checkpoint.weights where Self.isVision(canonical) {
      // Nothing reads the blocks after the features, nor the last norm.
      if canonical.hasPrefix("vision_tower.post_layernorm") { continue }
      if let layer = Self.layer(of: canonical), layer >= used { continue }
      guard let name = names.fileName(of: canonical) else { throw Self.noPlace(canonical, checkpoint) }
      let type = format.visionType(of: name, shape: source.shape)
      tensors.append(try OutputTensor(name, source, as: type))
    }
    try addFile(paths.projector, metadata, tensors)
  }

  private static func isVision(_ canonical: String) -> Bool {
    ["vision_tower.", "multi_modal_projector.", "image_newline"].contains { canonical.hasPrefix($0) }
  }

  /// The layer number in a canonical name of the vision tower.
  private static func layer(of canonical: String) -> Int? {
    let prefix = "vision_tower.encoder.layers."
    return canonical.hasPrefix(prefix) ? Int(canonical.dropFirst(prefix.count).prefix { $0 != "." }) : nil
  }

  private static func noPlace(_ canonical: String, _ checkpoint: Checkpoint) -> LimnError {
    .badData("GGUF has no place for the tensor \(canonical)", in: checkpoint.reference, remedy: "convert to hf")
  }

  // MARK: From another pair

  /// The same tensors and metadata, with other types.
  private static func gguf(
    _ pair: GGUFPair, _ format: GGUFMix, _ vision: GGUFMix, _ paths: GGUFPaths
  ) throws(LimnError) -> Conversion {
    var conversion = Conversion()
    let language = pair.language
    let layers = Set(language.tensors.compactMap { Self.block($0.name) }).count
    let isTied = !language.tensors.contains { $0.name == "output.weight" }
    let model = GGUFMix.Model(layers: layers, headGroups: headGroups(in: language), isTied: isTied)
    try conversion.addCopy(of: language, paths.language, format) { name, tensor in
      format.type(of: name, shape: tensor.shape, in: model)
    }
    if let projector = pair.projector {
      try conversion.addCopy(of: projector, paths.projector, vision) { name, tensor in
        vision.visionType(of: name, shape: tensor.shape)
      }
    }
    let wasQuantized = language.tensors.contains { $0.tensor.type.layout.elements > 1 }
    if wasQuantized, format.isQuantized { conversion.notes.append(quantizedTwice) }
    return conversion
  }

  /// How many query heads share keys and values.
  private static func headGroups(in file: GGUF) -> Int {
    func count(_ key: String) -> Int? { file["\(file.architecture ?? "").attention.\(key)"]?.int }
    guard let heads = count("head_count"), let shared = count("head_count_kv"), shared > 0 else { return 1 }
    return heads / shared
  }

  private mutating func addCopy(
    of file: GGUF, _ path: String, _ format: GGUFMix, type: (String, Tensor) -> TensorType
  ) throws(LimnError) {
    let replaced = ["general.file_type", "general.quantization_version", "general.alignment"]
    var metadata: [(key: String, value: GGUFMetadata)] = []
    for (key, value) in file.metadata where !replaced.contains(key) && !key.hasPrefix("split.") {
      metadata.append((key, .copy(value)))
    }
    metadata += Self.fileType(format)
    var tensors: [OutputTensor] = []
    for entry in file.tensors {
      tensors.append(try OutputTensor(entry.name, Weight(entry.tensor), as: type(entry.name, entry.tensor)))
    }
    try addFile(path, metadata, tensors, sorts: false)
  }

  // MARK: Files

  private func general(
    _ architecture: String, _ name: String, _ format: GGUFMix
  ) -> [(key: String, value: GGUFMetadata)] {
    [
      ("general.architecture", .string(architecture)),
      ("general.type", .string(architecture == "clip" ? "mmproj" : "model")), ("general.name", .string(name)),
    ] + Self.fileType(format)
  }

  private static func fileType(_ format: GGUFMix) -> [(key: String, value: GGUFMetadata)] {
    [("general.file_type", .u32(format.fileType)), ("general.quantization_version", .u32(2))]
  }

  private mutating func addFile(
    _ path: String, _ metadata: [(key: String, value: GGUFMetadata)], _ tensors: [OutputTensor],
    sorts: Bool = true
  ) throws(LimnError) {
    let tensors = sorts ? tensors.sorted { Self.place($0.header.name) < Self.place($1.header.name) } : tensors
    let layout = try GGUFWriter.layout(metadata, tensors.map(\.header))
    weights.append(WeightFile(path: path, layout: layout, tensors: tensors))
  }

  /// In the order in which a forward pass reads them.
  private static func place(_ name: String) -> (Int, Int, String) {
    if let block = block(name) { return (1, block, name) }
    return (["output.weight", "output.bias", "output_norm.weight", "output_norm.bias"].contains(name) ? 2 : 0, 0, name)
  }

  /// "blk.12.attn_q.weight" → 12
  private static func block(_ name: String) -> Int? {
    let parts = name.split(separator: ".")
    guard let place = parts.firstIndex(of: "blk"), place + 1 < parts.count else { return nil }
    return Int(parts[place + 1])
  }
}

/// The file names of a pair.
struct GGUFPaths {
  /// The model's name without a type.
  let name: String
  let language: String
  let projector: String

  init(_ model: String, _ format: GGUFMix, _ vision: GGUFMix, _ output: String) {
    if output.lowercased().hasSuffix(".gguf") {
      let folder = (output as NSString).deletingLastPathComponent
      name = Self.withoutType((output as NSString).lastPathComponent.dropLast(5).description)
      language = output
      projector = (folder as NSString).appendingPathComponent("\(name)-mmproj-\(vision.rawValue).gguf")
    } else {
      name = Self.withoutType(model)
      func path(_ file: String) -> String { (output as NSString).appendingPathComponent(file) }
      language = path("\(name)-\(format.rawValue).gguf")
      projector = path("\(name)-mmproj-\(vision.rawValue).gguf")
    }
  }

  /// "llava-phi-3-mini-f16" → "llava-phi-3-mini"
  private static func withoutType(_ name: String) -> String {
    for type in GGUFMix.allCases.map(\.rawValue) + ["int4"] {
      for separator in ["-", ".", "_"] where name.lowercased().hasSuffix(separator + type.lowercased()) {
        return String(name.dropLast(type.count + 1))
      }
    }
    return name
  }
}
