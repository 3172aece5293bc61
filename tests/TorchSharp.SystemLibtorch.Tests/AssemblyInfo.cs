// libtorch is one process-wide state (threads, seeds, grad mode per thread): tests run one after the other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
