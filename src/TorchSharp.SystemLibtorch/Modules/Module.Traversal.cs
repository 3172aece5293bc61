using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public partial class Module
        {
            public virtual IEnumerable<(string name, Module module)> named_children() => _internal_submodules;

            public virtual IEnumerable<Module> children() => named_children().Select(child => child.module);

            /// <summary>
            /// All modules below this one, level by level within each child; the module itself is left out.
            /// </summary>
            public virtual IEnumerable<(string name, Module module)> named_modules() => NamedModules(named_children());

            public virtual IEnumerable<Module> modules() => named_modules().Select(entry => entry.module);

            /// <summary>
            /// The parameters with dotted names, in order of registration; a shared one appears once.
            /// </summary>
            public virtual IEnumerable<(string name, Parameter parameter)> named_parameters(bool recurse = true)
            {
                var seen = new HashSet<Tensor>(ReferenceEqualityComparer.Instance);
                foreach (var entry in _internal_params)
                {
                    if (!entry.Item2.IsInvalid && seen.Add(entry.Item2))
                    {
                        yield return entry;
                    }
                }

                if (!recurse)
                {
                    yield break;
                }

                foreach (var (prefix, child) in _internal_submodules)
                {
                    foreach (var (name, parameter) in child.named_parameters(true))
                    {
                        if (!parameter.IsInvalid && seen.Add(parameter))
                        {
                            yield return ($"{prefix}.{name}", parameter);
                        }
                    }
                }
            }

            public virtual IEnumerable<Parameter> parameters(bool recurse = true)
                => named_parameters(recurse).Select(entry => entry.parameter);

            /// <summary>The persistent buffers with dotted names.</summary>
            /// <remarks>
            /// <paramref name="include_nonpersistent"/> has no effect, as in TorchSharp: those are never listed.
            /// </remarks>
            public virtual IEnumerable<(string name, Tensor buffer)> named_buffers(
                bool recurse = true,
                bool include_nonpersistent = true)
            {
                var seen = new HashSet<Tensor>(ReferenceEqualityComparer.Instance);
                foreach (var (name, (buffer, persistent)) in _internal_buffers)
                {
                    if (persistent && !buffer.IsInvalid && seen.Add(buffer))
                    {
                        yield return (name, buffer);
                    }
                }

                if (!recurse)
                {
                    yield break;
                }

                foreach (var (prefix, child) in _internal_submodules)
                {
                    foreach (var (name, buffer) in child.named_buffers(true, include_nonpersistent))
                    {
                        if (!buffer.IsInvalid && seen.Add(buffer))
                        {
                            yield return ($"{prefix}.{name}", buffer);
                        }
                    }
                }
            }

            public virtual Parameter? get_parameter(string target)
                => _internal_params.TryGetValue(target, out var parameter)
                    ? parameter
                    : Descend(target, (child, rest) => child.get_parameter(rest));

            public virtual Tensor? get_buffer(string target)
                => _internal_buffers.TryGetValue(target, out var buffer)
                    ? buffer.Item1
                    : Descend(target, (child, rest) => child.get_buffer(rest));

            public virtual bool has_parameter(string target)
                => _internal_params.ContainsKey(target)
                    || Descend(target, (child, rest) => child.has_parameter(rest) ? child : null) is not null;

            public virtual bool has_buffer(string target)
                => _internal_buffers.ContainsKey(target)
                    || Descend(target, (child, rest) => child.has_buffer(rest) ? child : null) is not null;

            /// <summary>All direct entries first, then what lies below each of them.</summary>
            internal static IEnumerable<(string name, Module module)> NamedModules(
                IEnumerable<(string name, Module module)> level)
            {
                var entries = level.ToList();
                foreach (var entry in entries)
                {
                    yield return entry;
                }

                foreach (var (prefix, child) in entries)
                {
                    foreach (var (name, module) in child.named_modules())
                    {
                        yield return ($"{prefix}.{name}", module);
                    }
                }
            }

            /// <summary>Looks up the rest of a dotted name in the child that its first part names.</summary>
            private TFound? Descend<TFound>(string target, Func<Module, string, TFound?> find) where TFound : class
            {
                var dot = target.IndexOf('.', StringComparison.Ordinal);
                if (dot < 0)
                {
                    return null;
                }

                var (first, rest) = (target[..dot], target[(dot + 1)..]);
                return named_children()
                    .Where(child => child.name == first)
                    .Select(child => find(child.module, rest))
                    .FirstOrDefault(found => found is not null);
            }
        }
    }
}
