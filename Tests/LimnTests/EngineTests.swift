import Foundation
import Limn
import LimnCore
import LimnTensor
import LimnTesting
import Synchronization
import Testing

/// An engine over a scripted model, whose answers reveal whatever goes wrong with caches.
private func engine(
  _ model: ScriptedModel, _ change: (inout Engine.Limits) -> Void = { _ in }
) -> Engine {
  var limits = Engine.Limits()
  limits.clock = { model.clock.seconds }
  change(&limits)
  return Engine(Llava(model), storage: .f32, context: 1 << 14, limits: limits)
}

private func request(_ tokens: [Int32], _ count: Int = 12, reuse: Bool = true) -> SequenceRequest {
  var request = SequenceRequest(prompt: PromptInputs(tokens: tokens), maxTokens: count)
  request.reuse = reuse
  return request
}

/// Tokens without repetitions.
private func tokens(_ count: Int, seed: Int32 = 1) -> [Int32] {
  (0..<Int32(count)).map { ($0 &* $0 &+ seed &* 7 &+ $0) % Int32(ScriptedModel.vocabulary) }
}

/// How many tokens a sequence generated; 0 until it has ended.
private final class Finished: Sendable {
  let count = Atomic(0)
}

/// Stops a sequence from within the engine, as soon as its handle is known there.
private final class Stopping: Sendable {
  let handle = Mutex<SequenceHandle?>(nil)

  func stop() {
    while handle.withLock({ $0 }) == nil { usleep(100) }
    handle.withLock { $0 }?.stop()
  }
}

@Suite struct EngineTests {
  private let cpu = try! CPU(threads: 1, precision: .exact)

  /// A model whose long answers outlast any delay of a test's own tasks on a busy machine.
  private func slowModel() throws -> ScriptedModel {
    let model = try ScriptedModel(on: cpu)
    model.clock.onLayer { _ in usleep(4000) }
    return model
  }

  @Test("sequences of any length generate what they generate alone, however passes split their prompts")
  func anyLengths() async throws {
    let model = try ScriptedModel(on: cpu)
    let prompts = [1, 2, 15, 16, 17, 31, 32, 33, 100, 700].map { tokens($0, seed: Int32($0)) }
    for rows in [16, 48, 1024] {
      let engine = engine(model) { $0.scheduler.maxRows = rows }
      let said = try await engine.said(prompts.enumerated().map { request($1, 5 + $0) })
      for (index, prompt) in prompts.enumerated() {
        #expect(said[index].tokens == model.answer(to: prompt, count: 5 + index), "\(rows), \(prompt.count)")
        #expect(said[index].ending == .length)
      }
    }
  }

  @Test("a sequence ends at the first of its end tokens")
  func endTokens() async throws {
    let model = try ScriptedModel(on: cpu)
    let prompt = tokens(20)
    let free = model.answer(to: prompt, count: 40)
    for end in Set(free) {
      var request = request(prompt, 40)
      request.endIDs = [end, 9999]
      let said = try await engine(model).said([request])[0]
      #expect(said.tokens == Array(free.prefix(through: free.firstIndex(of: end)!)))
      #expect(said.ending == .stop)
    }
  }

  @Test("a sequence that joins a running one is answered beside it")
  func joining() async throws {
    let model = try slowModel()
    let engine = engine(model)
    let second = Finished()
    let first = try await engine.generate([request(tokens(3), 16_000)])[0]
    let said = await first.said { said in
      if said.tokens.count == 2 {
        Task { second.count.store(try await engine.said([request(tokens(5), 3)])[0].tokens.count, ordering: .relaxed) }
      }
      return second.count.load(ordering: .relaxed) == 0
    }
    #expect(second.count.load(ordering: .relaxed) == 3)
    #expect(said.ending == .cancelled && said.tokens.count < 16_000)
  }

  @Test("a stopped sequence ends, and the others continue")
  func stopping() async throws {
    let model = try slowModel()
    let engine = engine(model)
    let handles = try await engine.generate([request(tokens(3), 10_000), request(tokens(4), 60)])
    async let stopped = handles[0].said { $0.tokens.count < 5 }
    async let other = handles[1].said()
    #expect(await stopped.ending == .cancelled)
    #expect(await other.tokens.count == 60)
  }

  @Test("a stopped sequence frees its place after one layer, however long its prompt is")
  func leaving() async throws {
    let model = try ScriptedModel(layers: 20, clock: .init(secondsPerRow: 0.0001), on: cpu)
    let engine = engine(model) { $0.maxSequences = 1 }
    let stopping = Stopping()
    model.clock.onLayer { if $0 == 50 { stopping.stop() } }
    let handles = try await engine.generate([request(tokens(8000), 10, reuse: false), request(tokens(2), 1)])
    stopping.handle.withLock { $0 = handles[0] }
    async let first = handles[0].said()
    #expect(await handles[1].said().tokens == model.answer(to: tokens(2), count: 1))
    #expect(await first.ending == .cancelled)
    // The layer during which it was stopped, and the other sequence's twenty.
    #expect(model.clock.layers == 51 + 20)
  }

  @Test("a prompt that is stopped within any of its layers leaves nothing wrong for the next one to reuse")
  func abandoning() async throws {
    for layer in 0..<4 {
      let model = try ScriptedModel(on: cpu)
      let engine = engine(model)
      let stopping = Stopping()
      model.clock.onLayer { if $0 == layer { stopping.stop() } }
      let handle = try await engine.generate([request(tokens(100), 3)])[0]
      stopping.handle.withLock { $0 = handle }
      let said = await handle.said()
      #expect(said.ending == .cancelled && said.tokens.isEmpty)
      #expect(try await engine.said([request(tokens(100), 3)])[0].tokens == model.answer(to: tokens(100), count: 3))
    }
  }

  @Test("a sequence stopped while it waits for a place ends at once")
  func stoppingInTheQueue() async throws {
    let engine = engine(try slowModel()) { $0.maxSequences = 1 }
    let first = try await engine.generate([request(tokens(3), 16_000)])[0]
    let second = try await engine.generate([request(tokens(3), 5)])[0]
    second.stop()
    // Until then, the first sequence occupies the only place.
    let said = await second.said()
    #expect(said.ending == .cancelled && said.tokens.isEmpty)
    first.stop()
    #expect(await first.said().ending == .cancelled)
  }

  @Test("sequences beyond the limit wait, and those beyond the waiting limit are refused")
  func waiting() async throws {
    let model = try ScriptedModel(on: cpu)
    let engine = engine(model) { ($0.maxSequences, $0.maxWaiting) = (2, 5) }
    let prompts = (0..<7).map { tokens(4 + $0, seed: Int32($0)) }
    let said = try await engine.said(prompts.map { request($0, 30) })
    #expect(said.map(\.tokens) == prompts.map { model.answer(to: $0, count: 30) })
    let error = await #expect(throws: LimnError.self) {
      try await engine.generate((0..<8).map { _ in request(tokens(4), 5) })
    }
    #expect(error?.kind == .unavailable && error?.code == .queueFull)
  }

  @Test("eight questions with the same long beginning, asked together, compute it once")
  func together() async throws {
    let model = try ScriptedModel(on: cpu)
    let engine = engine(model) { $0.scheduler.maxRows = 64 }
    let beginning = tokens(600)
    let prompts = (0..<8).map { beginning + tokens(5 + $0, seed: Int32(40 + $0)) }
    let said = try await engine.said(prompts.map { request($0) })
    #expect(said.map(\.tokens) == prompts.map { model.answer(to: $0, count: 12) })
    #expect(said[0].reused == 0)
    for other in said.dropFirst() { #expect(other.reused == 600) }
    #expect(await engine.statistics.forks == 7)
  }

  @Test("when a leading sequence is stopped, its followers continue from where it was")
  func leaderStops() async throws {
    let model = try ScriptedModel(on: cpu)
    let engine = engine(model) { $0.scheduler.maxRows = 64 }
    let beginning = tokens(600)
    let prompts = (0..<3).map { beginning + tokens(5, seed: Int32($0)) }
    let handles = try await engine.generate(prompts.map { request($0) })
    async let others = (handles[1].said(), handles[2].said())
    for await event in handles[0].events { if case .prefill(let done, _) = event, done >= 128 { handles[0].stop() } }
    let (one, two) = await others
    #expect(one.tokens == model.answer(to: prompts[1], count: 12))
    #expect(two.tokens == model.answer(to: prompts[2], count: 12))
    #expect((one.reused ?? 0) + (two.reused ?? 0) >= 128)
  }

  @Test("a short prompt copies the beginning that it shares with a long conversation, whose cache stays whole")
  func copiedBeginning() async throws {
    let model = try ScriptedModel(on: cpu)
    let engine = engine(model)
    let long = tokens(900), short = Array(long.prefix(100)) + [63, 62]
    _ = try await engine.said([request(long)])
    let said = try await engine.said([request(short)])[0]
    #expect(said.reused == 100 && said.tokens == model.answer(to: short, count: 12))
    let again = try await engine.said([request(long + [5])])[0]
    #expect(again.reused == 900 && again.tokens == model.answer(to: long + [5], count: 12))
  }

  @Test("a prompt takes over the kept cache that is mostly its own beginning, not a longer conversation's")
  func bestPrefix() async throws {
    let engine = engine(try ScriptedModel(on: cpu))
    let beginning = tokens(10)
    // The longer one ends last, and so is kept last.
    _ = try await engine.said([request(beginning + [50, 51], 3), request(beginning + tokens(80, seed: 9), 20)])
    #expect(try await engine.said([request(beginning + [49], 1)])[0].reused == 10)
  }

  @Test("sequences wait until there is memory for their keys and values, but one always has room")
  func memory() async throws {
    let model = try ScriptedModel(on: cpu)
    // Four layers, each with a key and a value of two floats, for 150 positions.
    let engine = engine(model) { $0.cacheBytes = 2 * 4 * 2 * 4 * 150 }
    let prompts = (0..<5).map { tokens(100, seed: Int32($0)) } + [tokens(1000)]
    let said = try await engine.said(prompts.map { request($0, 20) })
    #expect(said.map(\.tokens) == prompts.map { model.answer(to: $0, count: 20) })
  }

  @Test("decoding keeps its pace during the prefill of a long prompt, which takes half of the time")
  func pace() async throws {
    // One token takes 1 ms in all 20 layers together, so a decode step takes 1 ms and the prompt 3 s.
    let model = try ScriptedModel(layers: 20, clock: .init(secondsPerRow: 0.00005), on: cpu)
    let engine = engine(model)
    let asked = Finished()
    // However long it takes until the prompt is asked for, the answer has not ended.
    model.clock.onLayer { _ in if asked.count.load(ordering: .relaxed) == 0 { usleep(500) } }
    let answering = try await engine.generate([request(tokens(3), 16_000)])[0]
    async let answer = answering.said()
    let start = model.clock.seconds
    let reading = try await engine.generate([request(tokens(3000, seed: 5), 1)])[0]
    asked.count.store(1, ordering: .relaxed)
    let read = await reading.said()
    let end = model.clock.seconds
    answering.stop()
    _ = await answer
    #expect(read.tokens.count == 1)
    let steps = model.clock.decodeSteps.filter { $0 > start && $0 < end }
    let gaps = zip(steps, steps.dropFirst()).map { $1 - $0 }
    #expect(gaps.count > 100)
    // A step of 1 ms, and a slice of 4 ms that may overrun by one layer.
    #expect((gaps.max() ?? 1) < 0.0095)
  }
}
