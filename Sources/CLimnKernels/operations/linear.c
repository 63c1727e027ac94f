// Matrix products: the loops around the products of panels, the same for every weight format. Written naively, this
// file is
//
//   for (t = 0; t < tokens; t++)
//     for (r = 0; r < rows; r++) {
//       float sum = 0;
//       for (k = 0; k < columns; k++) sum += x[t][k] * weight[r][k];
//       if (bias) sum += bias[r];
//       y[t][r] = adding ? y[t][r] + sum : sum;
//     }
//
// `prepare` converts the tokens to what the recipe multiplies. Rows are cut into panels of 16, columns into blocks of
// 256, tokens into tiles of up to 12 (32 with AMX), and the number of tokens decides the order of the loops:
//
//   few tokens   multiply_few_tokens   for row, for block: multiply             no panels: rows in memory order
//   one tile     multiply_one_tile     for panel, for block: unpack, multiply   a panel never leaves L1
//   many tiles   multiply_many_tiles   for panel, for block: unpack;            a panel is unpacked once for all tokens
//                                      for tile, for panel, for block: multiply
//
// `limn_plan_linear`, at the end, chooses how much of that is one item of work.
#include "kernels.h"
#include "simd.h"

static void prepare(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_prepare_job *j = job;
  for (ptrdiff_t t = begin; t < end; t++) {
    char *out = (char *)j->prepared + t * j->prepared_stride;
    for (ptrdiff_t k = 0; k < j->columns; k += LIMN_BLOCK, out += j->recipe->x_bytes)
      j->recipe->prepare(
        j->x + t * j->columns + k, out, (int)(j->columns - k < LIMN_BLOCK ? j->columns - k : LIMN_BLOCK));
  }
}

static void gather(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)scratch;
  const limn_gather_job *j = job;
  for (ptrdiff_t i = begin; i < end; i++)
    j->recipe->dequantize(
      (const char *)j->table + (size_t)j->ids[i] * j->row_bytes, j->y + i * j->columns, (int)j->columns);
}

/// multiply_few takes 64 columns at a time.
static int takes_few(const limn_linear_job *j) { return j->tokens <= j->recipe->few_tokens && j->columns % 64 == 0; }

static size_t few_scratch(const limn_linear_job *j) {
  const size_t blocks = ((size_t)(j->columns + LIMN_BLOCK - 1) / LIMN_BLOCK + 15) & ~(size_t)15;
  return blocks * (LIMN_FEW_SCALES + LIMN_FEW_SUMS * (size_t)j->tokens);
}

static ptrdiff_t blocks_of(const limn_linear_job *j) { return (j->columns + LIMN_BLOCK - 1) / LIMN_BLOCK; }

static ptrdiff_t tiles_of(const limn_linear_job *j) {
  return (j->tokens + j->recipe->tile_tokens - 1) / j->recipe->tile_tokens;
}

/// Sums of a tile of tokens and the rows of a panel.
static size_t tile_sums(const limn_linear_job *j) { return (size_t)j->recipe->tile_tokens * LIMN_PANEL_ROWS; }

/// The number of tiles whose sums wait for the next part of the columns.
static size_t kept_tiles(const limn_linear_job *j) { return j->column_parts > 1 ? (size_t)tiles_of(j) : 1; }

/// The number of blocks in the longest part of the columns.
static size_t part_blocks(const limn_linear_job *j) {
  return (size_t)((blocks_of(j) + j->column_parts - 1) / j->column_parts);
}

size_t limn_linear_scratch(const limn_linear_job *job) {
  if (takes_few(job)) return few_scratch(job) + (size_t)(job->tokens * job->panels) * LIMN_PANEL_ROWS * sizeof(float);
  if (tiles_of(job) == 1) return job->recipe->panel_bytes;
  return (size_t)job->panels
    * (kept_tiles(job) * tile_sums(job) * sizeof(float) + part_blocks(job) * job->recipe->panel_bytes);
}

static int columns_of_block(const limn_linear_job *j, ptrdiff_t block) {
  const ptrdiff_t left = j->columns - block * LIMN_BLOCK;
  return left < LIMN_BLOCK ? (int)left : LIMN_BLOCK;
}

static int rows_of_panel(const limn_linear_job *j, ptrdiff_t row) {
  return j->rows - row < LIMN_PANEL_ROWS ? (int)(j->rows - row) : LIMN_PANEL_ROWS;
}

static void unpack(const limn_linear_job *j, ptrdiff_t row, ptrdiff_t block, void *panel) {
  const char *weight = (const char *)j->weight + (size_t)row * j->row_bytes + (size_t)block * j->recipe->weight_bytes;
  j->recipe->unpack(j->recipe, weight, j->row_bytes, rows_of_panel(j, row), columns_of_block(j, block), panel);
}

/// Prefetches one of `pieces` equal pieces of the next panel. Its rows follow one another in memory: read in that order
/// they arrive at full speed, whereas unpacking reads from sixteen places at once. Pieces are small because a core
/// stalls once some twenty cache lines are in flight.
static void prefetch(const limn_linear_job *j, ptrdiff_t row, ptrdiff_t piece, ptrdiff_t pieces) {
  const char *panel = (const char *)j->weight + (size_t)row * j->row_bytes;
  const size_t bytes = LIMN_PANEL_ROWS * j->row_bytes, end = bytes * (size_t)(piece + 1) / (size_t)pieces;
  for (size_t at = bytes * (size_t)piece / (size_t)pieces; at < end; at += 64) __builtin_prefetch(panel + at, 0, 2);
}

/// Writes the sums of `tokens` tokens and `rows` rows, `stride` floats from token to token, to y.
LIMN_INLINE void finish(
  const limn_linear_job *j, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t token, int tokens, const float *sums,
  ptrdiff_t stride) {
  for (int t = 0; t < tokens; t++) {
    float *y = j->y + (token + t) * j->rows + row;
    const float *from = sums + t * stride;
    ptrdiff_t r = 0;
    for (; r + 16 <= rows; r += 16) {
      v16f sum = v_load(from + r);
      if (j->bias) sum += v_load(j->bias + row + r);
      v_store(y + r, j->adding ? v_load(y + r) + sum : sum);
    }
    for (; r < rows; r++) {
      const float sum = j->bias ? from[r] + j->bias[row + r] : from[r];
      y[r] = j->adding ? y[r] + sum : sum;
    }
  }
}

/// Unpacked panels of some rows, for some blocks of the columns.
typedef struct {
  ptrdiff_t first_row, last_row;      // the last one excluded
  ptrdiff_t first_block, last_block;  // the last one excluded
  char *panels;
} unpacked;

static ptrdiff_t panels_of(const unpacked *u) {
  return (u->last_row - u->first_row + LIMN_PANEL_ROWS - 1) / LIMN_PANEL_ROWS;
}

/// Unpacks the panels in the order in which multiply_tile reads them: by panel, or with AMX by block.
LIMN_INLINE void unpack_panels(const limn_linear_job *j, const unpacked *u) {
  const ptrdiff_t blocks = u->last_block - u->first_block, high = panels_of(u);
  for (ptrdiff_t p = 0; p < high; p++)
    for (ptrdiff_t b = 0; b < blocks; b++) {
      const ptrdiff_t place = j->recipe->uses_amx ? b * high + p : p * blocks + b;
      unpack(
        j, u->first_row + p * LIMN_PANEL_ROWS, u->first_block + b, u->panels + (size_t)place * j->recipe->panel_bytes);
    }
}

/// Multiplies one tile of tokens by all unpacked panels. `sums` has a tile of sums for each panel, to which this adds.
///
/// All blocks of a panel are done before the next panel. With AMX it is the other way round: its products are so fast
/// that everything outside L1 is waited for, and in this order a block's activations and the sums stay there.
LIMN_INLINE void multiply_tile(const limn_linear_job *j, const unpacked *u, ptrdiff_t token, int tokens, float *sums) {
  const limn_recipe *recipe = j->recipe;
  const ptrdiff_t blocks = u->last_block - u->first_block, high = panels_of(u);
  const int is_last = u->last_block * LIMN_BLOCK >= j->columns;
  const char *x = (const char *)j->prepared + (size_t)token * j->prepared_stride
    + (size_t)u->first_block * recipe->x_bytes;
  if (u->first_block == 0) memset(sums, 0, (size_t)high * tile_sums(j) * sizeof *sums);
  const int by_block = recipe->uses_amx;
  const ptrdiff_t outer = by_block ? blocks : high, inner = by_block ? high : blocks;
  const char *panel = u->panels;
  for (ptrdiff_t o = 0; o < outer; o++) {
    for (ptrdiff_t i = 0; i < inner; i++, panel += recipe->panel_bytes) {
      const ptrdiff_t p = by_block ? i : o, b = by_block ? o : i, row = u->first_row + p * LIMN_PANEL_ROWS;
      float *tile = sums + (size_t)p * tile_sums(j);
      // Prefetches where the sums will go: one line for each token, far apart.
      if (is_last && b == 0)
        for (int t = 0; t < tokens; t++) __builtin_prefetch(j->y + (token + t) * j->rows + row, 1, 2);
      recipe->multiply(
        panel, x + (size_t)b * recipe->x_bytes, j->prepared_stride, tokens, tile, LIMN_PANEL_ROWS,
        columns_of_block(j, u->first_block + b));
      if (is_last && b == blocks - 1) finish(j, row, rows_of_panel(j, row), token, tokens, tile, LIMN_PANEL_ROWS);
    }
  }
}

/// Multiplies tiles `first` to before `last`. If the columns are in parts, all tiles are multiplied by one part before
/// the next part replaces it, and their sums are kept meanwhile.
LIMN_INLINE void multiply_many_tiles(
  const limn_linear_job *j, ptrdiff_t first_row, ptrdiff_t last_row, ptrdiff_t first, ptrdiff_t last, void *scratch) {
  const ptrdiff_t blocks = blocks_of(j), tile_tokens = j->recipe->tile_tokens;
  float *const sums = scratch;
  char *const panels = (char *)(sums + kept_tiles(j) * (size_t)j->panels * tile_sums(j));
  for (ptrdiff_t c = 0; c < j->column_parts; c++) {
    const unpacked part = {
      .first_row = first_row,
      .last_row = last_row,
      .first_block = c * blocks / j->column_parts,
      .last_block = (c + 1) * blocks / j->column_parts,
      .panels = panels};
    unpack_panels(j, &part);
    for (ptrdiff_t tile = first; tile < last; tile++) {
      const ptrdiff_t token = tile * tile_tokens, left = j->tokens - token;
      multiply_tile(
        j, &part, token, (int)(left < tile_tokens ? left : tile_tokens),
        sums + (kept_tiles(j) > 1 ? (size_t)(tile * j->panels) * tile_sums(j) : 0));
    }
  }
}

/// Multiplies the only tile. Panels are unpacked into `panel`, block by block. A piece of the next panel is prefetched
/// before each unpacking and each pass of the product.
LIMN_INLINE void multiply_one_tile(const limn_linear_job *j, ptrdiff_t first_row, ptrdiff_t last_row, char *panel) {
  const limn_recipe *recipe = j->recipe;
  const int tokens = (int)j->tokens, pass = recipe->pass_tokens;
  const ptrdiff_t blocks = blocks_of(j), pieces = 1 + (tokens + pass - 1) / pass;
  for (ptrdiff_t row = first_row; row < last_row; row += LIMN_PANEL_ROWS) {
    _Alignas(64) float tile[LIMN_MOST_TOKENS * LIMN_PANEL_ROWS];
    memset(tile, 0, (size_t)tokens * LIMN_PANEL_ROWS * sizeof *tile);
    const ptrdiff_t next = row + LIMN_PANEL_ROWS;
    for (ptrdiff_t b = 0, piece = 0; b < blocks; b++) {
      const char *x = (const char *)j->prepared + (size_t)b * recipe->x_bytes;
      if (next < last_row) prefetch(j, next, piece++, blocks * pieces);
      unpack(j, row, b, panel);
      for (int t = 0; t < tokens; t += pass) {
        if (next < last_row) prefetch(j, next, piece++, blocks * pieces);
        recipe->multiply(
          panel, x + (size_t)t * j->prepared_stride, j->prepared_stride, tokens - t < pass ? tokens - t : pass,
          tile + t * LIMN_PANEL_ROWS, LIMN_PANEL_ROWS, columns_of_block(j, b));
      }
    }
    finish(j, row, rows_of_panel(j, row), 0, tokens, tile, LIMN_PANEL_ROWS);
  }
}

LIMN_INLINE void multiply_few_tokens(const limn_linear_job *j, ptrdiff_t first_row, ptrdiff_t last_row, char *scratch) {
  const ptrdiff_t stride = j->panels * LIMN_PANEL_ROWS;
  const limn_few_job few = {
    .weight = (const char *)j->weight + (size_t)first_row * j->row_bytes,
    .row_bytes = j->row_bytes,
    .rows = last_row - first_row,
    .columns = j->columns,
    .x = j->prepared,
    .x_stride = j->prepared_stride,
    .tokens = j->tokens,
    .y = (float *)(scratch + few_scratch(j)),
    .y_stride = stride,
    .scratch = scratch};
  j->recipe->multiply_few(&few);
  finish(j, first_row, last_row - first_row, 0, (int)j->tokens, few.y, stride);
}

LIMN_INLINE void linear_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const limn_linear_job *j = job;
  const ptrdiff_t tiles = tiles_of(j);
  if (j->recipe->uses_amx) limn_amx_begin();
  for (ptrdiff_t item = begin; item < end; item++) {
    const ptrdiff_t part = item % j->token_parts;
    const ptrdiff_t first_tile = part * tiles / j->token_parts, last_tile = (part + 1) * tiles / j->token_parts;
    if (first_tile == last_tile) continue;
    const ptrdiff_t first_row = item / j->token_parts * j->panels * LIMN_PANEL_ROWS;
    ptrdiff_t last_row = first_row + j->panels * LIMN_PANEL_ROWS;
    if (last_row > j->rows) last_row = j->rows;
    if (takes_few(j))
      multiply_few_tokens(j, first_row, last_row, scratch);
    else if (tiles == 1)
      multiply_one_tile(j, first_row, last_row, scratch);
    else
      multiply_many_tiles(j, first_row, last_row, first_tile, last_tile, scratch);
  }
  if (j->recipe->uses_amx) limn_amx_end();
}

static void linear_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  linear_body(job, begin, end, scratch);
}
LIMN_KERNEL_INSTANCES(linear)

// MARK: The plan

static ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static ptrdiff_t most(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

/// Chooses how many panels one item has at most; for many tiles, also the number of parts of the columns.
///
/// *Many tiles:* as many panels as fill half of an L2 cache. Each tile of tokens is read once for all of them, so more
/// panels mean less reading. Long quantised rows are cut into parts of 1,024 columns, because only few of their panels
/// would fit otherwise. (Not with AVX-512, whose caches are twice as large: not measured yet. Not for F16 and F32,
/// which parts make slower. Processors with AMX have 2 MB of L2.)
///
/// *One tile:* 64 panels. Each is used once and then forgotten, so caches do not limit their number; but the next panel
/// is prefetched within an item only, so long items wait for memory less often.
///
/// *Few tokens:* 128 KB of weights, which memory delivers in some microseconds: long enough to read at full speed,
/// short enough for all threads to finish together.
static ptrdiff_t plan_panels(limn_linear_job *job) {
  const limn_recipe *recipe = job->recipe;
  const ptrdiff_t blocks = blocks_of(job);
  job->column_parts = 1;
  if (tiles_of(job) > 1) {
    const int in_parts = recipe->isa != LIMN_AVX512 && recipe->weight_bytes < 2 * LIMN_BLOCK;
    const ptrdiff_t part = in_parts ? 4 : blocks;
    const ptrdiff_t cache = in_parts ? 256 << 10 : recipe->uses_amx ? 1152 << 10 : 384 << 10;
    job->column_parts = (blocks + part - 1) / part;
    return most(1, cache / (least(blocks, part) * (ptrdiff_t)recipe->panel_bytes));
  }
  if (job->tokens == 1 || job->tokens <= recipe->few_tokens)
    return most(1, (128 << 10) / (LIMN_PANEL_ROWS * (ptrdiff_t)job->row_bytes));
  return 64;
}

ptrdiff_t limn_plan_linear(limn_linear_job *job, ptrdiff_t threads) {
  const ptrdiff_t panels = (job->rows + LIMN_PANEL_ROWS - 1) / LIMN_PANEL_ROWS;
  // Several items for each thread, so that all threads finish together. If there are too few panels for that, the
  // tokens are cut into parts, each of which unpacks the panels again; this is of no use to a single thread.
  const ptrdiff_t enough = 4 * threads;
  job->panels = most(1, least(plan_panels(job), panels / enough));
  const ptrdiff_t groups = (panels + job->panels - 1) / job->panels;
  job->token_parts = threads == 1 ? 1 : most(1, least(tiles_of(job), (enough + groups - 1) / groups));
  return groups * job->token_parts;
}

double limn_further_token_cost(limn_isa isa) { return isa == LIMN_AVX2 ? 0.25 : 0.17; }

void limn_install_linear(limn_kernels *kernels) {
  kernels->prepare = prepare;
  kernels->linear = LIMN_PICK(kernels->isa, linear);
  kernels->gather = gather;
}
