// Which commit the command was built from: a module of its own, so that a new commit compiles these few lines and the
// command again, and nothing else.
#ifndef LIMN_COMMIT_H
#define LIMN_COMMIT_H

/// The commit that `LIMN_COMMIT` named to the build, as `git describe --dirty` has it; NULL where it named none.
const char *_Nullable limn_commit(void);

#endif
