using System.Text.RegularExpressions;

namespace Influence;

public sealed partial class Checkpoint
{
    /// <summary>
    /// How the tensors of a checkpoint meet those of a model, where a file is another tool's. What was done is told by
    /// <see cref="Checkpoint.LoadInto"/>.
    /// </summary>
    /// <remarks>
    /// Without any of this, names and shapes must be the same, but for what has one reading only: float16, bfloat16, float32 and float64
    /// become the model's float type, a weight that the model ties and the file has once is used at each place, and
    /// <c>num_batches_tracked</c> may be missing.
    /// </remarks>
    /// <example>
    /// <code>
    /// var names = new Checkpoint.Options
    /// {
    ///     Rename = Checkpoint.Options.Table((@"^(wte|wpe|h|ln_f)\.", "transformer.$1."), (@"\.attn\.(masked_)?bias$", null)),
    ///     Lenient = true,
    /// };
    /// var checkpoint = Checkpoint.FromFile("model.safetensors", learningRate: 1e-4, names);
    /// foreach (var note in checkpoint.LoadInto(model)) Console.WriteLine(note);
    /// </code>
    /// </example>
    public sealed record Options
    {
        /// <summary>From a tensor's name in the file to its name in the model; null leaves the tensor out.</summary>
        /// <value>Null: the names are the same.</value>
        public Func<string, string?>? Rename { get; init; }

        /// <summary>
        /// Names by a table: each row whose pattern is found in a name replaces it there, one row after the other; a row without a
        /// replacement leaves the tensor out.
        /// </summary>
        /// <param name="rows">
        /// Regular expressions of .NET, and what takes the place of what they match, with <c>$1</c> for a group. <c>("^encoder\\.",
        /// "bert.encoder.")</c> replaces a prefix, and <c>("\\.attn\\.bias$", null)</c> leaves out what ends so.
        /// </param>
        /// <returns>The function, for <see cref="Rename"/>.</returns>
        /// <exception cref="InfluenceException">A pattern is no regular expression.</exception>
        public static Func<string, string?> Table(params (string Pattern, string? Replacement)[] rows)
        {
            ArgumentNullException.ThrowIfNull(rows);
            (Regex Pattern, string? Replacement)[] table = [.. rows.Select(row => (Compiled(row.Pattern), row.Replacement))];
            return name =>
            {
                foreach (var (pattern, replacement) in table)
                {
                    if (replacement is not null)
                    {
                        name = pattern.Replace(name, replacement);
                    }
                    else if (pattern.IsMatch(name))
                    {
                        return null;
                    }
                }

                return name;
            };

            // A pattern without backtracking takes time in proportion to the name, whatever the two are.
            static Regex Compiled(string pattern)
            {
                try
                {
                    return new Regex(
                        pattern
                            ?? throw new InfluenceException(
                                "A row of a table of names has no pattern; write (@\"^prefix\\.\", \"other.\")."
                            ),
                        RegexOptions.CultureInvariant | RegexOptions.NonBacktracking
                    );
                }
                catch (Exception exception) when (exception is ArgumentException or NotSupportedException)
                {
                    throw new InfluenceException(
                        $"\"{pattern}\" is no pattern for names: {exception.Message} Write a regular expression "
                            + "without back references, as @\"^transformer\\.\".",
                        exception
                    );
                }
            }
        }

        /// <summary>
        /// Whether what does not meet is passed over: tensors that the model lacks are left out, buffers and frozen parameters that the
        /// file lacks stay as they are in the model, and the prefixes of wrappers, <c>module.</c> and <c>_orig_mod.</c>, are taken off. A
        /// trainable parameter that the file lacks, another shape or another kind of number is refused all the same.
        /// </summary>
        /// <value>False.</value>
        public bool Lenient { get; init; }
    }
}
