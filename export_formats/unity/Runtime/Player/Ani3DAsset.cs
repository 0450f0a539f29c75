using Ani3D.Core;
using UnityEngine;

namespace Ani3D
{
    /// <summary>An imported .ani3d file. Decoded once, when first used; any number of players share it.</summary>
    [PreferBinarySerialization]
    public sealed class Ani3DAsset : ScriptableObject
    {
        [SerializeField, HideInInspector] byte[] file;
        [SerializeField] string licence;
        [SerializeField] string[] clipNames;
        [SerializeField] int gaussianCount;
        Bundle bundle;

        /// <summary>The source's licence, as the file states it.</summary>
        public string Licence => licence;
        public string[] ClipNames => clipNames;
        public int GaussianCount => gaussianCount;

        /// <summary>The decoded bundle.</summary>
        public Bundle Bundle => bundle ?? (bundle = Bundle.Read(file, name));

        /// <summary>An asset of a file's bytes, also at run time. Throws InputException.</summary>
        public static Ani3DAsset Create(byte[] file, string name)
        {
            Bundle read = Bundle.Read(file, name);
            var asset = CreateInstance<Ani3DAsset>();
            asset.name = name;
            asset.file = file;
            asset.bundle = read;
            asset.licence = read.SourceLicence;
            asset.gaussianCount = read.Gaussians.Count;
            asset.clipNames = new string[read.Clips.Length];
            for (int i = 0; i < read.Clips.Length; i++) asset.clipNames[i] = read.Clips[i].Name;
            return asset;
        }
    }
}
