#include "base/lock.h"

bool lock_shared = true;
