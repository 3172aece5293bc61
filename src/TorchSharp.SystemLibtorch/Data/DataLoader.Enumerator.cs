using System.Collections;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

public partial class DataLoader<T, S>
{
    /// <summary>Makes one batch at a time and disposes it at the next step, as TorchSharp does.</summary>
    private sealed class BatchEnumerator : IEnumerator<S>
    {
        private readonly DataLoader<T, S> _loader;
        private IEnumerator<long> _indices;
        private IDisposable[] _owned = [];
        private S? _current;

        public BatchEnumerator(DataLoader<T, S> loader)
        {
            _loader = loader;
            _indices = loader.sampler.GetEnumerator();
        }

        public S Current => _current!;

        object IEnumerator.Current => Current!;

        public bool MoveNext()
        {
            DisposeBatch();
            var indices = NextIndices();
            if (indices.Count == 0 || (_loader.drop_last && indices.Count < _loader.batch_size))
            {
                return false;
            }

            // The batch outlives this scope, and whatever scope the caller has open.
            using var batch = NewDisposeScope();
            _current = _loader.Fetch(indices);
            var made = batch.DisposablesView.ToArray();
            batch.Detach(made);
            _owned = _loader.DisposeBatch ? made : [];
            return true;
        }

        public void Reset()
        {
            DisposeBatch();
            _indices.Dispose();
            _indices = _loader.sampler.GetEnumerator();
        }

        public void Dispose()
        {
            _indices.Dispose();
            DisposeBatch();
        }

        private List<long> NextIndices()
        {
            var indices = new List<long>(_loader.batch_size);
            while (indices.Count < _loader.batch_size && _indices.MoveNext())
            {
                indices.Add(_indices.Current);
            }

            return indices;
        }

        private void DisposeBatch()
        {
            Array.ForEach(_owned, disposable => disposable.Dispose());
            _owned = [];
        }
    }
}
