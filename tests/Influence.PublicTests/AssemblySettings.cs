// One managed thread does torch work at a time.
[assembly: Xunit.CollectionBehavior(DisableTestParallelization = true)]
