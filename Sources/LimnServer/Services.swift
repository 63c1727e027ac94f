import Limn
import LimnCore

/// What all endpoints work with.
struct Services: Sendable {
  let options: ServerOptions
  let pool: ModelPool
  let answers: AnswerService
  let pictures: Pictures
  let metrics: ServerMetrics
  let conversations = ConversationStore()
  /// Pictures that clients handed in ahead of the question about them.
  let files = BoundedStore<ImageSource>()

  init(_ options: ServerOptions) throws(LimnError) {
    self.options = options
    pool = try ModelPool(options)
    metrics = ServerMetrics()
    pictures = Pictures(options)
    answers = AnswerService(options, pool: pool, metrics: metrics)
  }
}
