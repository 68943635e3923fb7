#pragma once
// What a run measured, as its files and programs show it.
#include <string>

#include "clip/retrieval/recall.hpp"
#include "examples/support/training.hpp"
#include "src/io/json.hpp"

namespace clip {

/// A line of metrics.jsonl.
Json to_json(const EpochMetrics& metrics);
EpochMetrics metrics_from(const Json& line);
/// The recalls of a split, to read.
std::string table(const RetrievalRecall& recall, const std::string& split);

}  // namespace clip
