import LimnFiles
import LimnCore

/// Which decoder runs which architecture. To add a language model, write a file beside this one and add a row here.
enum ModelRegistry {
  static let languageModels: [LanguageConfig.Architecture: any LanguageModel.Type] = [
    .llama: Decoder<LlamaLayer>.self,
    .mistral: Decoder<LlamaLayer>.self,
    .phi3: Decoder<LlamaLayer>.self,
    .phi2: Decoder<Phi2Layer>.self,
  ]

  static func languageModel(
    _ config: LanguageConfig, _ weights: inout WeightReader, context: Int, placement: Placement
  ) throws(LimnError) -> any LanguageModel {
    guard let type = languageModels[config.architecture] else {
      throw .badData(
        "limn does not run the language model \(config.architecture)", in: weights.checkpoint.reference,
        expected: languageModels.keys.map(\.rawValue).sorted().joined(separator: ", "))
    }
    return try type.init(config, &weights, context: context, placement: placement)
  }
}
