import Foundation
public import LimnCore
import LimnTensor

/// The small LLaVA that ships with limn. It knows only drawn scenes, in English and Traditional Chinese.
public enum DemoModel {
  /// Its folder, in Hugging Face layout.
  public static func path() throws(LimnError) -> String {
    let folder = Bundle.module.resourceURL?.appendingPathComponent("limn-demo").path
    guard let folder, FileManager.default.fileExists(atPath: folder + "/config.json") else {
      throw LimnError(
        .notFound, code: .modelNotFound, "the demo model is not where it was built", in: folder ?? "limn_Limn.resources",
        remedy: "keep limn_Limn.resources beside the command, or name a model with \(.model)")
    }
    return folder
  }
}
