/* All of libfanmesh: a node of a fanmesh cluster inside a C or C++ program. docs/embedding.md shows how.
 *
 *   node.h       settings, start, stop; the rules about threads
 *   publish.h    messages in
 *   subscribe.h  messages out
 *   handler.h    joins and pushes that the program decides
 *   cursor.h     message ids                     err.h  errors and their sentences */
#pragma once

#include "fanmesh/cursor.h"
#include "fanmesh/err.h"
#include "fanmesh/handler.h"
#include "fanmesh/node.h"
#include "fanmesh/publish.h"
#include "fanmesh/subscribe.h"
