package import LimnCore
import LimnTensor

/// A model whose files lie elsewhere, as their first bytes tell it: it can be judged before it is fetched.
package struct ModelHeaders: Sendable {
  private let name: String
  private var language: GGUF?
  private var projector: GGUF?
  /// Of models in several files, all but the first.
  private var shards: [GGUF] = []
  private var safetensors: [Safetensors] = []
  private var configs: [String: JSON] = [:]

  /// - Parameter name: what the model is called in messages.
  package init(_ name: String) { self.name = name }

  /// Reads the beginning of one of the model's files: a GGUF file (language model or projector, whatever it is called),
  /// a safetensors file, config.json or generation_config.json. Other files say nothing about weights.
  /// - Parameters:
  ///   - file: its name.
  ///   - size: of the whole file.
  /// - Returns: how many bytes from its beginning it takes at least; nil: these were enough.
  /// - Throws: what opening the whole file would throw.
  package mutating func add(
    _ file: String, beginning: some Collection<UInt8>, size: Int
  ) throws(LimnError) -> Int? {
    let place = "\(name)/\(file)"
    if file.hasSuffix(".gguf") {
      switch try GGUF.read(beginning, fileSize: size, path: place) {
      case .cut(let needed): return needed
      case .whole(let header) where header.isLaterShard: shards.append(header)
      case .whole(let header): if header.isProjector { projector = header } else { language = header }
      }
    } else if file.hasSuffix(".safetensors") {
      switch try Safetensors.read(beginning, fileSize: size, path: place) {
      case .cut(let needed): return needed
      case .whole(let header): safetensors.append(header)
      }
    } else if ["config.json", "generation_config.json"].contains(file) {
      guard beginning.count >= size else { return size }
      configs[file] = try JSON.parse(String(decoding: beginning.prefix(size), as: UTF8.self), place: place)
    }
    return nil
  }

  /// A GGUF file with the tensors of those that belong to it.
  private func whole(_ first: GGUF) -> GGUF {
    var first = first
    let stem = GGUF.stem(of: first.path)
    for shard in shards where GGUF.stem(of: shard.path) == stem { first.append(shard) }
    return first
  }

  /// The model, of which nothing can be computed: the values of its weights are not here.
  /// - Throws: `notFound`, where files are missing without which nothing can be said.
  package func checkpoint() throws(LimnError) -> Checkpoint {
    if let language {
      return try Checkpoint(name, GGUFPair(whole(language), projector.map(whole)))
    }
    guard let config = configs["config.json"], !safetensors.isEmpty else {
      throw LimnError(
        .notFound, "the model's headers are missing", in: name,
        expected: "those of a GGUF language model, or of safetensors files and their config.json")
    }
    func fields(_ json: JSON, _ file: String) -> FieldReader { FieldReader(json: json, place: "\(name)/\(file)") }
    let generation = configs["generation_config.json"].map { fields($0, "generation_config.json") }
    return try Checkpoint(
      name, fields(config, "config.json"), generation, safetensors.flatMap(\.tensors))
  }
}

extension Checkpoint {
  /// From a config and the tensors' headers. A vision tower that lies in a folder of its own is not there.
  fileprivate init(
    _ reference: String, _ fields: FieldReader, _ generation: FieldReader?, _ tensors: [NamedTensor]
  ) throws(LimnError) {
    let quantization = QuantizationSettings(config: fields.json)
    var names = CanonicalWeights(quantization)
    try names.add(tensors, TensorNames.place, reference)
    try quantization.check(names.unused, reference)
    var config = try ModelConfig(json: fields.json, place: fields.place)
    let isNested = try ModelConfig.nestedVision(fields) != nil
    let isOriginal = fields.has("mm_vision_tower")
    if isOriginal, names.has("vision_tower.encoder.") {
      config.vision = try VisionConfig(towerWeights: names.weights, place: reference)
    }
    names.tieTables(config.language)
    names.settle(&config.language)
    try names.regroupFusedHeads(config.language, reference)
    self.init(
      reference: reference, layout: isOriginal ? .original : isNested ? .llavaPhi : .huggingFace, config: config,
      names: names, endOfGenerationIDs: try ModelAssembly.endIDs(fields, generation))
  }
}
