public import LimnCore

/// The small LLaVA that ships with limn. It knows only drawn scenes, in English and Traditional Chinese.
public enum DemoModel {
  /// Its folder, in Hugging Face layout: in `LIMN_RESOURCES` where that is set, else beside the program, where SwiftPM
  /// puts it, else in `../share/limn` as seen from the program.
  public static func path() throws(LimnError) -> String { try ResourceFolder.path(of: "limn-demo") }
}
