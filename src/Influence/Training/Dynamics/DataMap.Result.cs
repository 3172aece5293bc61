using System.Text;
using Influence.Display;
using Influence.Formats;

namespace Influence.Training;

public sealed partial record DataMap
{
    /// <summary>A picture as SVG text: a browser opens it, a notebook shows it.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IHtml
    {
        private readonly string _svg;

        internal Result(string svg) => _svg = svg;

        /// <summary>Writes the picture.</summary>
        /// <param name="path">The file, ending in <c>.svg</c>.</param>
        /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
        public void Save(string path)
        {
            ArgumentNullException.ThrowIfNull(path);
            if (!path.EndsWith(".svg", StringComparison.OrdinalIgnoreCase))
            {
                throw new InfluenceException(
                    $"{Path.GetFileName(path)}: the name's ending says the format. Write a name that ends in .svg."
                );
            }

            AtomicFile.Write(path, stream => stream.Write(Encoding.UTF8.GetBytes(_svg)));
        }

        /// <summary>The SVG text.</summary>
        /// <returns>One <c>svg</c> element, which also stands within HTML.</returns>
        public override string ToString() => _svg;

        /// <summary>Gives the picture as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The SVG element.</returns>
        public string ToHtml() => _svg;
    }
}
