package import CLimnKernels
package import LimnCore

/// The operations on this computer's processor.
///
/// Each operation fills in a job for the kernels of CLimnKernels, and the thread pool shares it out. Calls from several
/// threads take turns. In the steady state nothing is allocated: the buffer for prepared activations grows to fit the
/// largest call and is kept.
// @unchecked: the workspace is touched only inside `pool.exclusively`; the rest never changes after `init`.
package final class CPU: Backend, @unchecked Sendable {
  package let precision: Precision
  package let isa: ISA
  package var threads: Int { pool.threads }
  let pool: ThreadPool
  let kernels: limn_kernels
  let recipes: Recipes
  private var workspace = allocateLarge(64)

  /// No machine has enough cores to use more threads than this.
  package static let maxThreads = 1024

  /// - Parameters:
  ///   - threads: nil for the number of physical cores that this process may use.
  ///   - isa: nil for the one named by LIMN_ISA, or else the best that the machine has.
  /// - Throws: `unavailable` for an instruction set that the machine lacks.
  package init(threads: Int? = nil, precision: Precision = .fast, isa: ISA? = nil) throws(LimnError) {
    let isa = if let isa { isa } else { try ISA.chosen() }
    var kernels = limn_kernels()
    guard limn_kernels_init(&kernels, isa.code) != 0 else {
      throw LimnError(.unavailable, "this machine lacks an instruction set", found: isa.rawValue)
    }
    self.precision = precision
    self.isa = isa
    self.kernels = kernels
    recipes = Recipes(isa: isa)
    pool = ThreadPool(threads: max(1, min(threads ?? Machine.defaultThreads, Self.maxThreads)))
  }

  deinit { workspace.deallocate() }

  // MARK: Matrix products

  package func linear(
    _ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, phase: Phase
  ) {
    let weight = layer.weight
    var recipe = recipes.preferred(weight.type, precision, phase)
    if [.f16, .bf16].contains(weight.type), recipe == recipes[weight.type, LIMN_INT16] {
      let isUneven = weight.hasUnevenColumns {
        limn_has_uneven_columns(
          recipe, weight.start, weight.rowBytes, Int32(weight.rows), Int32(weight.columns)) != 0
      }
      if isUneven { recipe = recipes[weight.type, LIMN_FLOAT32]! }
    }
    multiply(x, layer, into: y, adding: adding, recipe)
  }

  /// Uses the given arithmetic instead of what `precision` would choose, for tests.
  package func linear(
    _ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, arithmetic: limn_arithmetic
  ) {
    multiply(x, layer, into: y, adding: adding, recipes[layer.weight.type, arithmetic]!)
  }

  /// Whether prefill multiplies weights of this type as 8-bit integers.
  package func readsInBytes(_ type: TensorType) -> Bool {
    guard type.isComputable else { return false }
    let recipe = recipes.preferred(type, precision, .prefill)
    return [LIMN_INT8, LIMN_INT8_32].contains { recipe == recipes[type, $0] }
  }

  /// How much one more token adds to the time of a decode step, in units of a one-token step.
  package var furtherTokenCost: Double { limn_further_token_cost(kernels.isa) }

  package var assumedOperationsPerSecond: Double {
    let perThread =
      switch isa {
      case .avx512: 250e9
      case .avx2: 150e9
      case .neon: 100e9
      case .scalar: 2e9
      }
    return Double(threads) * perThread
  }

  private func multiply(
    _ x: Activations, _ layer: Linear, into y: Activations, adding: Bool, _ recipe: UnsafePointer<limn_recipe>
  ) {
    let weight = layer.weight
    precondition(x.width == layer.inputs && y.width == layer.outputs && x.rows == y.rows)
    if x.rows == 0 || y.width == 0 { return }
    let blocks = (x.width + LIMN_BLOCK - 1) / LIMN_BLOCK
    // An odd number of cache lines per token, so that a tile's tokens fall into different cache sets.
    let stride = ((blocks * recipe.pointee.x_bytes + 63) / 64 | 1) * 64
    withExtendedLifetime(weight.owner) {
      pool.exclusively {
        reserve(((x.rows + 15) & ~15) * stride)  // AMX reads tokens in groups of 16
        var prepare = limn_prepare_job(
          recipe: recipe, x: x.pointer, columns: x.width, prepared: workspace.baseAddress,
          prepared_stride: stride)
        pool.run(kernels.prepare, &prepare, count: x.rows, grain: 8)
        var job = limn_linear_job(
          recipe: recipe, weight: weight.start, row_bytes: weight.rowBytes, rows: weight.rows,
          columns: weight.columns, prepared: workspace.baseAddress, prepared_stride: stride, tokens: x.rows,
          panels: 1, token_parts: 1, column_parts: 1, bias: layer.bias?.values.baseAddress, y: y.pointer,
          adding: adding ? 1 : 0)
        let items = limn_plan_linear(&job, pool.threads)
        pool.run(kernels.linear, &job, count: items, scratch: limn_linear_scratch(&job))
      }
    }
  }

  private func reserve(_ bytes: Int) {
    if bytes <= workspace.count { return }
    workspace.deallocate()
    workspace = allocateLarge((bytes + 4095) & ~4095)
  }

  package func gather(_ ids: UnsafeBufferPointer<Int32>, from table: Matrix, into y: Activations) {
    precondition(ids.count == y.rows && table.columns == y.width)
    precondition(ids.allSatisfy { $0 >= 0 && Int($0) < table.rows })
    withExtendedLifetime(table.owner) {
      pool.exclusively {
        var job = limn_gather_job(
          recipe: recipes[table.type, LIMN_FLOAT32]!, table: table.start, row_bytes: table.rowBytes,
          columns: table.columns, ids: ids.baseAddress, y: y.pointer)
        pool.run(kernels.gather, &job, count: ids.count, grain: 16)
      }
    }
  }

  // MARK: Norms and rotations

  package func rmsNorm(_ x: Activations, weight: Vector, epsilon: Float, into y: Activations) {
    norm(kernels.rms_norm, x, weight: weight, bias: nil, epsilon: epsilon, into: y)
  }

  package func layerNorm(_ x: Activations, weight: Vector, bias: Vector, epsilon: Float, into y: Activations) {
    norm(kernels.layer_norm, x, weight: weight, bias: bias, epsilon: epsilon, into: y)
  }

  private func norm(
    _ kernel: Kernel, _ x: Activations, weight: Vector, bias: Vector?, epsilon: Float, into y: Activations
  ) {
    precondition(x.rows == y.rows && x.width == y.width && weight.count == x.width)
    precondition(bias == nil || bias!.count == x.width)
    withExtendedLifetime((weight, bias)) {
      pool.exclusively {
        var job = limn_norm_job(
          x: x.pointer, weight: weight.values.baseAddress, bias: bias?.values.baseAddress, y: y.pointer,
          width: x.width, epsilon: epsilon)
        pool.run(kernel, &job, count: x.rows, grain: grain(x.width))
      }
    }
  }

  package func rope(_ x: Activations, heads: Int, firstPosition: Int, table: RoPETable) {
    precondition(x.width == heads * table.headSize)
    precondition(firstPosition >= 0 && firstPosition + x.rows <= table.positions)
    if table.dimensions == 0 { return }
    let first = firstPosition * (table.dimensions / 2)
    withExtendedLifetime(table) {
      pool.exclusively {
        var job = limn_rope_job(
          x: x.pointer, heads: heads, head_size: table.headSize, dimensions: table.dimensions,
          cosines: table.cosines.values.baseAddress! + first, sines: table.sines.values.baseAddress! + first,
          adjacent: table.style == .adjacent ? 1 : 0)
        pool.run(kernels.rope, &job, count: x.rows, grain: grain(x.width))
      }
    }
  }

  // MARK: Attention

  package func store(keys: Activations, values: Activations, in cache: KVCache, layer: Int, position: Int) {
    precondition(keys.rows == values.rows && keys.width == cache.kvHeads * cache.headSize)
    precondition(values.width == keys.width && position >= 0 && position + keys.rows <= cache.capacity)
    let offset = position * cache.positionBytes
    store(keys, at: (cache.keys(layer: layer) + offset).pointer, in: cache)
    store(values, at: (cache.values(layer: layer) + offset).pointer, in: cache)
  }

  private func store(_ x: Activations, at place: UnsafeMutableRawPointer, in cache: KVCache) {
    withExtendedLifetime(cache) {
      pool.exclusively {
        var job = limn_store_job(
          x: x.pointer, cache: place, type: cache.storage.kernelType, position_bytes: cache.positionBytes,
          head_bytes: cache.headBytes, heads: cache.kvHeads, head_size: cache.headSize)
        pool.run(kernels.store, &job, count: x.rows, grain: grain(x.width))
      }
    }
  }

  package func attention(
    _ q: Activations, heads: Int, cache: KVCache, layer: Int, firstPosition: Int, window: Int?, scale: Float,
    into y: Activations, phase: Phase, allowsBFloat16: Bool
  ) {
    precondition(q.width == heads * cache.headSize && heads % cache.kvHeads == 0)
    precondition(firstPosition >= 0 && firstPosition + q.rows <= cache.capacity)
    precondition(window == nil || window! > 0)
    withExtendedLifetime(cache) {
      let job = limn_attention_job(
        recipe: nil, unpack: nil, q: q.pointer, keys: cache.keys(layer: layer).pointer,
        values: cache.values(layer: layer).pointer,
        type: cache.storage.kernelType, position_bytes: cache.positionBytes, head_bytes: cache.headBytes, causal: 1,
        tokens: q.rows, heads: heads, kv_heads: cache.kvHeads, head_size: cache.headSize,
        first_position: firstPosition, positions: 0, window: window ?? 0, block_tokens: 1, scale: scale, y: y.pointer)
      if precision == .fast && phase == .decode { attendInPlace(job, q, y) } else { attend(job, q, y, allowsBFloat16) }
    }
  }

  package func fullAttention(
    q: Activations, k: Activations, v: Activations, heads: Int, scale: Float, into y: Activations
  ) {
    precondition(q.width % heads == 0 && k.width == q.width && v.width == q.width && k.rows == v.rows)
    let headSize = q.width / heads
    attend(
      limn_attention_job(
        recipe: nil, unpack: nil, q: q.pointer, keys: k.pointer, values: v.pointer, type: LIMN_F32,
        position_bytes: k.width * 4, head_bytes: headSize * 4, causal: 0, tokens: q.rows, heads: heads, kv_heads: heads,
        head_size: headSize, first_position: 0, positions: k.rows, window: 0, block_tokens: 1, scale: scale,
        y: y.pointer),
      q, y, false)
  }

  /// Attention for the few queries of a decode step.
  private func attendInPlace(_ attention: limn_attention_job, _ q: Activations, _ y: Activations) {
    precondition(y.rows == q.rows && y.width == q.width)
    if q.rows == 0 { return }
    var job = attention
    pool.exclusively {
      pool.run(
        kernels.attention_in_place, &job, count: job.kv_heads, scratch: limn_attention_in_place_scratch(&job))
    }
  }

  private func attend(
    _ attention: limn_attention_job, _ q: Activations, _ y: Activations, _ allowsBFloat16: Bool
  ) {
    precondition(y.rows == q.rows && y.width == q.width)
    if q.rows == 0 { return }
    var job = attention
    let rounds = allowsBFloat16 && precision == .fast && isa != .scalar
    if rounds, let recipe = recipes[.f32, LIMN_BFLOAT16], let unpack = kernels.unpack_bfloat16 {
      (job.recipe, job.unpack) = (recipe, unpack)
    } else {
      (job.recipe, job.unpack) = (recipes[.f32, LIMN_FLOAT32], kernels.unpack_float32)
    }
    // As many query rows as fit the second-level cache share the unpacking of keys and values, as long as there are
    // enough items to occupy all threads.
    let tile = Int(job.recipe.pointee.tile_tokens)
    let most = max(1, 192 / (job.heads / job.kv_heads))
    let wanted = (4 * threads + job.kv_heads - 1) / job.kv_heads
    let blocks = max((q.rows + most - 1) / most, min(wanted, (q.rows + tile - 1) / tile))
    let even = (q.rows + blocks - 1) / blocks
    job.block_tokens = min(q.rows, (even + tile - 1) / tile * tile)
    let items = (q.rows + job.block_tokens - 1) / job.block_tokens * job.kv_heads
    pool.exclusively {
      pool.run(kernels.attention, &job, count: items, scratch: limn_attention_scratch(&job))
    }
  }

  // MARK: Element by element

  package func gelu(_ x: Activations, _ kind: GELU) {
    switch kind {
    case .erf: elements(kernels.gelu_erf, x, nil)
    case .tanh: elements(kernels.gelu_tanh, x, nil)
    case .quick: elements(kernels.gelu_quick, x, nil)
    }
  }

  package func siluMultiply(_ gate: Activations, _ up: Activations) {
    elements(kernels.silu_multiply, gate, up)
  }

  package func add(_ x: Activations, into y: Activations) {
    elements(kernels.add, y, x)
  }

  private func elements(_ kernel: Kernel, _ x: Activations, _ other: Activations?) {
    precondition(other == nil || (other!.rows == x.rows && other!.width == x.width))
    pool.exclusively {
      var job = limn_elements_job(x: x.pointer, other: other.map { UnsafePointer($0.pointer) })
      pool.run(kernel, &job, count: x.rows * x.width, grain: 8192)
    }
  }

  /// How many rows of this width make a range worth handing to a thread.
  private func grain(_ width: Int) -> Int { max(1, 8192 / max(1, width)) }
}
