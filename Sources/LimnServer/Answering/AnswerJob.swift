import LimnCore
import Limn

/// What every API's request for an answer comes to.
struct AnswerJob: Sendable {
  /// The name by which the client calls the model.
  var model: String
  var prompt: Limn.Request.Prompt
  var options = GenerationOptions()
  /// How many answers are wanted.
  var choices = 1
  /// How long the model stays loaded afterwards; nil: as long as the server keeps models.
  var keepAlive: KeepAlive?

  init(model: String, prompt: Limn.Request.Prompt) {
    self.model = model
    self.prompt = prompt
    // As long as the context allows, unless the client says otherwise.
    options.maxTokens = Int(Int32.max)
  }

  /// Whether white space before the first word is left out: templates write their own.
  var trims: Bool { if case .messages = prompt { true } else { false } }

  /// The request for one of the answers. Choices differ by their seeds.
  func request(choice: Int) -> Limn.Request {
    var options = options
    if let seed = options.sampling.seed { options.sampling.seed = seed &+ UInt64(choice) &* 0x9E37_79B9 }
    var request = Limn.Request([], options: options)
    request.prompt = prompt
    return request
  }
}

/// How long a model stays loaded after its last answer.
package enum KeepAlive: Sendable, Equatable {
  case seconds(Double)
  case forever
}

/// What happens while a job is worked on.
enum AnswerRunEvent: Sendable {
  /// Its model is being opened for it; how far, 0 to 1.
  case opening(Double)
  /// The job has its place, and its model is open.
  case admitted(Admission)
  /// An event of one of the answers.
  case answer(choice: Int, AnswerEvent)
  /// Comes every few seconds, so that a silent connection can be kept open.
  case tick
}

struct Admission: Sendable {
  /// The model's id.
  var model: String
  /// Seconds that opening the model took; 0: it was open.
  var loading = 0.0
  /// Seconds in the queue.
  var waiting = 0.0
  var started = ContinuousClock.now
}

/// All answers to a job, finished.
struct AnswerOutcome: Sendable {
  var admission: Admission
  var answers: [Answer]
  var logprobs: [[TokenLogprob]]
}
