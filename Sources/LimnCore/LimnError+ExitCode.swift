extension LimnError.Kind {
  /// The exit code of limn's commands: 2 as usual for wrong usage, 130 as shells use for Ctrl-C, and otherwise the numbers of
  /// sysexits.h.
  package var exitCode: Int32 {
    switch self {
    case .usage: 2
    case .badData: 65
    case .notFound: 66
    case .unavailable: 69
    case .defect: 70
    case .interrupted: 130
    }
  }
}
