using TorchSharp.Utils;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public partial class Module
        {
            /// <summary>
            /// Parameters and persistent buffers by dotted name. The tensors are the module's own, not copies.
            /// </summary>
            public virtual Dictionary<string, Tensor> state_dict(
                Dictionary<string, Tensor>? destination = null,
                string? prefix = null)
            {
                destination ??= [];
                foreach (var (name, parameter) in named_parameters())
                {
                    destination.TryAdd(Join(prefix, name), parameter);
                }

                foreach (var (name, buffer) in named_buffers(include_nonpersistent: false))
                {
                    destination.TryAdd(Join(prefix, name), buffer);
                }

                // The loops above list a shared tensor once; going down adds its other names.
                foreach (var (name, child) in _internal_submodules)
                {
                    child.state_dict(destination, Join(prefix, name));
                }

                return destination;
            }

            /// <summary>Copies the values of <paramref name="source"/> into the tensors of the same names.</summary>
            /// <returns>The names that the source lacks, and the names that this module lacks.</returns>
            /// <exception cref="InvalidOperationException"><paramref name="strict"/> and the names differ.</exception>
            public virtual (IList<string> missing_keys, IList<string> unexpected_keyes) load_state_dict(
                Dictionary<string, Tensor> source,
                bool strict = true,
                IList<string>? skip = null)
            {
                var destination = state_dict();
                var considered = source.Keys.Where(key => !Skips(skip, key)).ToList();
                var unexpected = considered.Where(key => !destination.ContainsKey(key)).ToList();
                var missing = destination.Keys.Where(key => !Skips(skip, key) && !source.ContainsKey(key)).ToList();

                if (strict && (missing.Count > 0 || unexpected.Count > 0))
                {
                    throw new InvalidOperationException(
                        "The names of the state_dict differ from the module's. "
                        + $"Missing: [{string.Join(", ", missing)}]; unexpected: [{string.Join(", ", unexpected)}].");
                }

                using var noGrad = no_grad();
                foreach (var key in considered)
                {
                    if (destination.TryGetValue(key, out var target))
                    {
                        target.copy_(source[key]);
                    }
                }

                return (missing, unexpected);
            }

            public Module save(string location, IList<string>? skip = null)
            {
                using var stream = File.Create(location);
                return save(stream, skip);
            }

            /// <summary>Writes the state to the stream and closes it, as TorchSharp does.</summary>
            public Module save(Stream stream, IList<string>? skip = null)
            {
                using var writer = new BinaryWriter(stream);
                return save(writer, skip);
            }

            public Module save(BinaryWriter writer, IList<string>? skip = null)
            {
                save_state_dict(writer, state_dict(), skip);
                return this;
            }

            /// <summary>The <c>.dat</c> format: the number of entries, then for each its name and its tensor.</summary>
            public static void save_state_dict(
                BinaryWriter writer,
                Dictionary<string, Tensor> sd,
                IList<string>? skip = null)
            {
                var entries = sd.Where(entry => !Skips(skip, entry.Key)).ToList();
                Leb128.Write(writer, entries.Count);
                foreach (var (name, tensor) in entries)
                {
                    writer.Write(name);
                    tensor.Save(writer);
                }
            }

            public virtual Module load(
                string location,
                bool strict = true,
                IList<string>? skip = null,
                Dictionary<string, bool>? loadedParameters = null)
            {
                using var stream = File.OpenRead(location);
                return load(stream, strict, skip, loadedParameters);
            }

            /// <summary>Reads the state from the stream and closes it, as TorchSharp does.</summary>
            public Module load(
                Stream stream,
                bool strict = true,
                IList<string>? skip = null,
                Dictionary<string, bool>? loadedParameters = null)
            {
                using var reader = new BinaryReader(stream);
                return load(reader, strict, skip, loadedParameters);
            }

            /// <summary>Reads the <c>.dat</c> format into the module's own tensors, wherever they live.</summary>
            /// <param name="reader">The source; it is left open.</param>
            /// <param name="strict">Whether every name, in the file and in the module, must be matched.</param>
            /// <param name="skip">Names whose stored values are passed over.</param>
            /// <param name="loadedParameters">Receives every stored name and whether the module has it.</param>
            /// <exception cref="ArgumentException">The names, shapes or types do not match.</exception>
            public virtual Module load(
                BinaryReader reader,
                bool strict = true,
                IList<string>? skip = null,
                Dictionary<string, bool>? loadedParameters = null)
            {
                var destination = state_dict();
                var entries = Leb128.Read(reader);
                if (strict && entries != destination.Count)
                {
                    throw new ArgumentException(
                        $"The module has {destination.Count} parameters and buffers, but {entries} are stored.");
                }

                for (long i = 0; i < entries; i++)
                {
                    var key = reader.ReadString();
                    var found = destination.TryGetValue(key, out var target);
                    if (strict && !found)
                    {
                        throw new ArgumentException(
                            $"The module has no parameter and no buffer named '{key}', but one is stored.");
                    }

                    if (found && !Skips(skip, key))
                    {
                        target!.Load(reader);
                    }
                    else
                    {
                        TensorFile.Skip(reader);
                    }

                    loadedParameters?.Add(key, found);
                }

                return this;
            }

            private static bool Skips(IList<string>? skip, string key) => skip is not null && skip.Contains(key);

            private static string Join(string? prefix, string name)
                => string.IsNullOrEmpty(prefix) ? name : $"{prefix}.{name}";
        }
    }
}
